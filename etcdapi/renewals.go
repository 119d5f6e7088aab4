package etcdapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// renewalPatience is for how long keep-alives wait for a question that is under way, to share the next one. They do
	// not wait for one that hangs.
	renewalPatience = 100 * time.Millisecond
	// maxQuestions bounds the questions under way. Each has a deadline, Limits.RequestTimeout.
	maxQuestions = 64
)

// renewals gathers the lease keep-alives of all streams of this node: while one question is on its way to the primary's
// leader, those that arrive wait for the next and share it.
type renewals struct {
	leader leaseRenewer
	clock  clock.Clock

	mu      sync.Mutex
	waiting map[int64][]waiter
	asking  int // questions under way
	fresh   int // of these, younger than renewalPatience: at most one
}

// renewal is a keep-alive and its answer. The response comes with everything but the time to live, which is zero if the
// lease does not exist.
type renewal struct {
	response *pb.LeaseKeepAliveResponse
	err      error
	sure     bool // it is as safe as what was acknowledged
	// asked is when the question was put, as the clock counts that runs while the machine is suspended too. The time to
	// live of the response began to run no sooner.
	asked time.Duration
	// doubted is when an answer first was none: that it is gone of a lease that is there, or one that came too late.
	// Zero if none was.
	doubted time.Time
}

// leaseRenewer renews leases at the leader of the primary region: a time to live for each, negative if there is none.
type leaseRenewer interface {
	askRenew(ids []int64) (ttls []int64, err error)
}

func newRenewals(leader leaseRenewer, c clock.Clock) *renewals {
	return &renewals{leader: leader, clock: c, waiting: map[int64][]waiter{}}
}

type waiter struct {
	renewal
	answers *renewed
}

// renewed are answers that are to be sent: there is no more room for them than they take. Who answers waits for nobody.
// It is safe for concurrent use.
type renewed struct {
	come chan struct{} // has room for one: something came

	mu   sync.Mutex
	list []renewal
}

func newRenewed() *renewed { return &renewed{come: make(chan struct{}, 1)} }

func (r *renewed) add(one renewal) {
	r.mu.Lock()
	r.list = append(r.list, one)
	r.mu.Unlock()
	select {
	case r.come <- struct{}{}:
	default:
	}
}

// take returns what came since it was taken last.
func (r *renewed) take() (came []renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	came, r.list = r.list, nil
	return came
}

// renew extends the lease of one and adds the answer to answers.
func (r *renewals) renew(one renewal, answers *renewed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := one.response.ID
	r.waiting[id] = append(r.waiting[id], waiter{one, answers})
	r.begin()
}

// begin asks for what waits, if now is the time. The caller holds mu.
func (r *renewals) begin() {
	if len(r.waiting) == 0 || r.fresh > 0 || r.asking >= maxQuestions {
		return
	}
	ids, waiters := r.take()
	asked := r.clock.Elapsed()
	r.asking++
	r.fresh++
	answered := make(chan struct{})
	go r.age(answered)
	go func() {
		r.ask(ids, waiters, asked)
		close(answered)
	}()
}

// age notes that a question is not fresh any more, at its end at the latest.
func (r *renewals) age(answered <-chan struct{}) {
	timer := r.clock.NewTimer(renewalPatience)
	defer timer.Stop()
	ended := false
	select {
	case <-timer.C():
	case <-answered:
		ended = true
	}
	r.note(func() { r.fresh-- })
	if !ended {
		<-answered
	}
	r.note(func() { r.asking-- })
}

func (r *renewals) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	r.begin()
}

// ask puts one question, and gives everybody who waits for it his answer.
func (r *renewals) ask(ids []int64, waiters [][]waiter, asked time.Duration) {
	ttls, err := r.leader.askRenew(ids)
	if err == nil && len(ttls) != len(ids) {
		err = fmt.Errorf("%w: %d answers to %d renewals", ErrAsk, len(ttls), len(ids))
	}
	for i := range ids {
		for _, w := range waiters[i] {
			w.asked = asked
			if w.err = err; err == nil {
				w.response.TTL = max(ttls[i], 0)
			}
			w.answers.add(w.renewal)
		}
	}
}

// take removes up to maxAskRenewals leases from those that wait. The caller holds mu.
func (r *renewals) take() (ids []int64, waiters [][]waiter) {
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
	ctx, cancel := context.WithTimeout(context.Background(), a.limits.now().RequestTimeout)
	defer cancel()
	answer, err := a.replicator.Ask(ctx, encodeRenew(ids))
	if err != nil {
		return nil, err
	}
	return decodeInt64s(answer)
}
