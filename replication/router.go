package replication

import (
	"context"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/standing"
)

// retryEvery is how long a unit without a route waits at most before it is looked at again; usually news of a leader or a
// primary wakes it earlier.
const retryEvery = 20 * time.Millisecond

// router brings units to whoever takes writes, and keeps those that have nowhere to go.
type router struct {
	clock    clock.Clock
	find     func() standing.Route
	refresh  func() // asks for news of the fleet
	pipeline *pipeline
	forward  *forwarder

	mu     sync.Mutex
	parked []*unit
	wake   chan struct{}
}

// submit sends u on its way.
func (r *router) submit(u *unit) {
	if !r.send(u) {
		r.park(u)
	}
}

func (r *router) send(u *unit) bool {
	switch to := r.find(); {
	case to.Local:
		return r.pipeline.enqueue(u)
	case to.Addr != "":
		return r.forward.enqueue(to.Addr, u)
	default:
		return false
	}
}

func (r *router) park(us ...*unit) {
	r.mu.Lock()
	r.parked = append(r.parked, us...)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// again takes back units that were certainly not applied. Those of this node are sent anew after a moment; another node's go
// back to it, which knows whether anybody still waits.
func (r *router) again(us []*unit) {
	var own []*unit
	for _, u := range us {
		if u.foreign {
			u.finish(result{err: ErrNotReady})
			continue
		}
		u.giveBack()
		own = append(own, u)
	}
	if len(own) > 0 {
		r.park(own...)
	}
}

// run looks at parked units until ctx ends.
func (r *router) run(ctx context.Context) {
	timer := r.clock.NewTimer(retryEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for r.waiting() {
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

func (r *router) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.parked) > 0
}

func (r *router) resend() {
	r.mu.Lock()
	units := r.parked
	r.parked = nil
	r.mu.Unlock()
	var left []*unit
	for _, u := range units {
		if u.phase.Load() != phaseWithdrawn && !r.send(u) {
			left = append(left, u)
		}
	}
	if len(left) > 0 {
		r.refresh()
		r.park(left...)
	}
}

// abandon ends what waits, because the node stops.
func (r *router) abandon(err error) {
	r.mu.Lock()
	units := r.parked
	r.parked = nil
	r.mu.Unlock()
	for _, u := range units {
		if u.hand() {
			u.finish(result{err: err})
		}
	}
}
