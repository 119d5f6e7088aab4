package propose

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wake"
)

// retryEvery is how long a proposal without a route waits before it is looked at again.
const retryEvery = 20 * time.Millisecond

// requeuer takes back proposals that were certainly not applied.
type requeuer interface{ requeue(us []*proposal) }

// parking keeps proposals that have nowhere to go.
type parking struct {
	wake wake.Signal

	mu     sync.Mutex
	parked []*proposal
}

func newParking() *parking { return &parking{wake: wake.New()} }

func (k *parking) park(us ...*proposal) {
	for _, u := range us {
		u.trace.on(contract.PartQueue)
	}
	k.mu.Lock()
	k.parked = append(k.parked, us...)
	k.mu.Unlock()
	k.wake.Nudge()
}

// errTenureOver says that the write was bound to a tenure of this node.
var errTenureOver = fmt.Errorf("%w: the tenure in which this was decided is over", contract.ErrNotLeader)

// requeue implements requeuer. Proposals of this node are sent anew after a moment, if their callers still wait;
// another node's go back to it, which knows whether anybody does.
func (k *parking) requeue(us []*proposal) {
	var own []*proposal
	for _, u := range us {
		if u.from != nil {
			u.finish(result{err: contract.ErrNotReady})
			continue
		}
		if u.release() {
			own = append(own, u)
		}
	}
	if len(own) > 0 {
		k.park(own...)
	}
}

// take empties the parking.
func (k *parking) take() []*proposal {
	k.mu.Lock()
	defer k.mu.Unlock()
	us := k.parked
	k.parked = nil
	return us
}

func (k *parking) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.parked) == 0
}

// abandon ends what waits, because the node stops.
func (k *parking) abandon(err error) {
	for _, u := range k.take() {
		if u.claim() {
			u.finish(result{err: err})
		}
	}
}

// router brings proposals to whoever takes writes, and parks those for which nobody does.
type router struct {
	clock     clock.Clock
	standing  Standing
	fleet     Fleet
	gate      Gate
	pipeline  *pipeline
	forwarder *forwarder
	parking   *parking
}

// submit sends u on its way.
func (r *router) submit(u *proposal) {
	if !r.send(u) {
		r.parking.park(u)
	}
}

// send reports whether u has found its way. What is bound to a tenure waits while that goes on, and is over with it.
func (r *router) send(u *proposal) bool {
	switch to := r.standing.Route(); {
	case u.bound && !r.pipeline.enqueue(u):
		if u.tenure == r.pipeline.tenureNow() && u.tenure != (contract.Tenure{}) {
			return false
		}
		u.finish(result{err: errTenureOver})
		return true
	case u.bound:
		return true
	case to.Local:
		return u.refused(r.gate) || r.pipeline.enqueue(u)
	case to.Addr != "":
		return r.forwarder.enqueue(to.Addr, u)
	default:
		return false
	}
}

// run looks at parked proposals until ctx ends.
func (r *router) run(ctx context.Context) {
	timer := r.clock.NewTimer(retryEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.parking.wake:
		}
		for !r.parking.empty() {
			timer.Reset(retryEvery)
			select {
			case <-ctx.Done():
				return
			case <-timer.C():
			}
			r.resend()
		}
	}
}

func (r *router) resend() {
	var left []*proposal
	for _, u := range r.parking.take() {
		if !u.withdrawn() && !r.send(u) {
			left = append(left, u)
		}
	}
	if len(left) > 0 {
		r.fleet.Refresh()
		r.parking.park(left...)
	}
}
