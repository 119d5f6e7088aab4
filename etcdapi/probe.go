package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/replication"
)

// checkTimeout bounds one check of a page: who asks waits no longer, whatever the check waits for.
const checkTimeout = 2 * time.Second

// check is one thing that a page about health looks at.
type check struct {
	name string
	run  func(context.Context) error
	// late says what was waited for in vain, for as long as given.
	late func(time.Duration) string
	// spared says why it is left out unless it is asked for, "" if it is not. Nil: never.
	spared func() string
}

// probes are the checks under way. A check that hangs, as on a disk that stands still, is not begun again: who asks
// meanwhile waits for it, each for no longer than the limit.
type probes struct {
	mu    sync.Mutex
	under map[string]*probe
}

type probe struct {
	done chan struct{}
	err  error // once done
}

// errLate says that a check did not end in time.
var errLate = errors.New("not in time")

// make returns what the check came to, errLate if it did not within limit.
func (p *probes) make(ctx context.Context, page string, c *check, limit time.Duration) error {
	one := p.join(ctx, page+"/"+c.name, c, limit)
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-one.done:
	case <-bounded.Done():
		return errLate
	}
	if errors.Is(one.err, context.DeadlineExceeded) {
		return errLate
	}
	return one.err
}

// join returns the check of that name that is under way, or begins it: the end of who asked first is not its end.
func (p *probes) join(ctx context.Context, name string, c *check, limit time.Duration) *probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.under[name]; one != nil {
		return one
	}
	one := &probe{done: make(chan struct{})}
	if p.under == nil {
		p.under = map[string]*probe{}
	}
	p.under[name] = one
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	go func() {
		defer cancel()
		err := c.run(bounded)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.under, name)
		one.err = err
		close(one.done)
	}()
	return one
}

// lateStore says that the store does not answer.
func lateStore(limit time.Duration) string {
	return fmt.Sprintf("the store has not read one key for %v: its disk may stand still", limit)
}

// lateNode says that the node does not say how it is.
func lateNode(limit time.Duration) string {
	return fmt.Sprintf("the node has not said how it is for %v", limit)
}

// lateReplay says that the node is not where it was.
func lateReplay(limit time.Duration) string {
	return fmt.Sprintf("for %v this node has neither applied again what it had before it started, nor read one key",
		limit)
}

// latePrimary says who has not confirmed a read.
func (a pageServer) latePrimary(limit time.Duration) string {
	h := a.recentHealth()
	switch {
	case h.LeaderRaftID == 0:
		return textOf(rpctypes.ErrGRPCNoLeader)
	case decides(h):
		return fmt.Sprintf("%s: the leader of the region confirmed no read for %v", textOf(rpctypes.ErrGRPCTimeout),
			limit)
	case h.Primary == "" || h.Primary == h.Region:
		return "the primary of the fleet is not known"
	}
	for i := range h.Peers {
		if p := &h.Peers[i]; p.ID == h.Primary && p.Healthy {
			return fmt.Sprintf("the primary of the fleet, %s, confirmed no read for %v, or what it has did not arrive",
				h.Primary, limit)
		}
	}
	return fmt.Sprintf("the primary of the fleet, %s, does not answer", h.Primary)
}

// decides reports whether the region itself can confirm a linearizable read: by its own knowledge it is the primary, or
// there is no other.
func decides(h *replication.HealthStatus) bool {
	return len(h.Peers) == 0 || h.Role == replication.RolePrimary && h.Primary == h.Region
}

// sparedRead says why a linearizable read says nothing of this node: all nodes of the region would lose their clients
// at once, for what is elsewhere, or is so on purpose.
func (a pageServer) sparedRead() string {
	h := a.recentHealth()
	const ask = "; ?linearizable=true asks for it"
	switch {
	case h.State == replication.StateInitializing || h.State == replication.StateClosed:
		return ""
	case h.Late != nil:
		return "region " + h.Region + " shows its history late, on purpose" + ask
	case decides(h):
		return ""
	case h.Primary == "" || h.Primary == h.Region:
		return "region " + h.Region + " is not the primary" + ask
	default:
		return "region " + h.Region + " follows " + h.Primary + ask
	}
}
