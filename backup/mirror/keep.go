package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
)

const (
	// leastKeep is how long it rests at least before it is looked which leases are to be kept alive.
	leastKeep = 10 * time.Millisecond
	// keepStreams is how many streams leases are kept alive with, where each has streamLeases of them to do: on one, a
	// member of an etcd asks the one that leads about one lease behind the other.
	keepStreams, streamLeases = 16, 64
	// partLeases is how many leases are kept alive in one step, which has to get through as a whole.
	partLeases = 4096
)

// keep keeps leases alive until ctx ends, whatever else is waited for meanwhile. It begins with those that are due:
// where the fleet does not answer another one may take its place before any time is over.
func (l *leases) keep(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(max(every, leastKeep))
	defer ticker.Stop()
	for {
		if err := l.keepAlive(ctx); err != nil {
			l.mu.Lock()
			l.failed = err
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// failure returns, once, why leases could not be kept alive.
func (l *ledger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.failed
	l.failed = nil
	return err
}

// keepAlive renews those of which a third of the time is over.
func (l *leases) keepAlive(ctx context.Context) error {
	for some := range slices.Chunk(l.due(), partLeases) {
		if err := l.renew(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// due returns those of which a third of the time is over, first the one that ends first.
func (l *ledger) due() (ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for id, h := range l.known {
		if !h.lost && now.Sub(h.kept) >= h.lives/3 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int {
		one, other := l.known[a], l.known[b]
		return cmp.Or(one.kept.Add(one.lives).Compare(other.kept.Add(other.lives)), cmp.Compare(a, b))
	})
	return ids
}

// renew keeps some alive, and takes note of those that are not there.
func (l *leases) renew(ctx context.Context, ids []int64) error { return l.renewAll(ctx, ids, l.kept) }

// hold keeps alive from now on those of some leases of the fleet that are in the etcd, whether any key is under them or
// not, until that is known. In one cluster nothing is held before that: what is there(id) of a lease of there is one of
// a user, which is to end when he is gone.
func (l *leases) hold(ctx context.Context, ids []int64) error {
	if l.one {
		return nil
	}
	return l.renewAll(ctx, ids, l.found)
}

// noted takes note of a lease that was asked, at a time, to be kept alive, and of the time to live in seconds that it
// has in the etcd: not above 0 if it is not there.
type noted func(id, ttl int64, at time.Time)

// renewAll asks the etcd to keep some alive.
func (l *leases) renewAll(ctx context.Context, ids []int64, note noted) error {
	if len(ids) == 0 {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for some := range slices.Chunk(ids, max(streamLeases, (len(ids)+keepStreams-1)/keepStreams)) {
		group.Go(func() error { return l.renewOn(ctx, some, note) })
	}
	return group.Wait()
}

// renewOn is renewAll on one stream.
func (l *leases) renewOn(ctx context.Context, ids []int64, note noted) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime(len(ids)))
	defer cancel()
	stream, err := pb.NewLeaseClient(l.etcd.Conn).LeaseKeepAlive(ctx)
	if err != nil {
		return fmt.Errorf("keep leases alive in the etcd: %w", err)
	}
	began := time.Now()
	go func() {
		for _, id := range ids {
			if stream.Send(&pb.LeaseKeepAliveRequest{ID: l.there(id)}) != nil {
				return // which is received
			}
		}
	}()
	for range ids {
		r, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("keep leases alive in the etcd: %w", err)
		}
		note(l.there(r.ID), r.TTL, began)
	}
	return nil
}

// kept is noted for those that are known. That one is not there says nothing if it was asked before it was granted.
func (l *ledger) kept(id, ttl int64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch h := l.known[id]; {
	case h == nil:
	case ttl > 0:
		h.kept, h.lives = at, time.Duration(ttl)*time.Second
		if h.ttl > 0 {
			h.lives = min(h.lives, h.ttl)
		}
	case at.Before(h.since):
	case h.ttl == 0:
		delete(l.known, id)
	default:
		h.lost = true
	}
}

// found is noted for those that are not known yet as well.
func (l *ledger) found(id, ttl int64, at time.Time) {
	l.mu.Lock()
	if l.known[id] == nil && ttl > 0 {
		l.known[id] = &held{since: at}
	}
	l.mu.Unlock()
	l.kept(id, ttl, at)
}

// lost returns those that are known, and have ended in the etcd.
func (l *ledger) lost() (some []span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, h := range l.known {
		if h.lost {
			some = append(some, span{id, int64(h.ttl / time.Second)})
		}
	}
	return some
}
