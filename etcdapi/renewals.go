package etcdapi

import (
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// renewals gathers the lease keep-alives of all streams of this node: while one question is on its way to the primary's
// leader, those that arrive wait for the next and share it.
type renewals struct {
	leader leaseRenewer

	mu      sync.Mutex
	waiting map[int64][]waiter
	asking  bool
}

// renewal is a keep-alive and its answer. The response comes with everything but the time to live, which is zero if the
// lease does not exist.
type renewal struct {
	response *pb.LeaseKeepAliveResponse
	err      error
}

// leaseRenewer renews leases at the leader of the primary region: a time to live for each, negative if there is none.
type leaseRenewer interface {
	askRenew(ids []int64) (ttls []int64, err error)
}

func newRenewals(leader leaseRenewer) *renewals {
	return &renewals{leader: leader, waiting: map[int64][]waiter{}}
}

type waiter struct {
	renewal
	answers chan<- renewal
}

// renew extends the lease of r and sends the answer to answers, which must have room for it.
func (r *renewals) renew(one renewal, answers chan<- renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := one.response.ID
	r.waiting[id] = append(r.waiting[id], waiter{one, answers})
	if !r.asking {
		r.asking = true
		go r.run()
	}
}

// run asks for what waits until nothing does.
func (r *renewals) run() {
	for {
		ids, waiters := r.take()
		if len(ids) == 0 {
			return
		}
		ttls, err := r.leader.askRenew(ids)
		if err == nil && len(ttls) != len(ids) {
			err = fmt.Errorf("%w: %d answers to %d renewals", ErrAsk, len(ttls), len(ids))
		}
		for i := range ids {
			for _, w := range waiters[i] {
				if w.err = err; err == nil {
					w.response.TTL = max(ttls[i], 0)
				}
				w.answers <- w.renewal
			}
		}
	}
}

// take removes up to maxAskRenewals leases from those that wait. If there are none, the next renew starts a new run.
func (r *renewals) take() (ids []int64, waiters [][]waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking = len(r.waiting) > 0
	for id, those := range r.waiting {
		if len(ids) == maxAskRenewals {
			break
		}
		ids, waiters = append(ids, id), append(waiters, those)
		delete(r.waiting, id)
	}
	return ids, waiters
}

// askRenew asks the leader of the primary region to renew leases.
func (a *API) askRenew(ids []int64) ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.limits.RequestTimeout)
	defer cancel()
	answer, err := a.replicator.Ask(ctx, encodeRenew(ids))
	if err != nil {
		return nil, err
	}
	return decodeInt64s(answer)
}
