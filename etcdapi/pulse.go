package etcdapi

import (
	"context"
	"errors"
	"sync"
	"time"
)

// silences is how many times LeaderTimeout a stream that requires a leader outlives the silence of the primary: longer
// than a failover takes, so that watches outlast that, and shorter than a client would take to give up the connection.
const silences = 5

// pulse is whether the primary of the fleet confirms reads at this node, as those found out who asked: of the streams
// that require a leader one asks for all. Where it is silent nothing comes that a watch waits for, however well the
// region's own leader is. It is safe for concurrent use.
type pulse struct {
	mu     sync.Mutex
	asking bool
	asked  time.Time // when the last question began
	silent time.Time // when the first one began of those that were not answered since one was; zero: none
}

// due reports whether the caller is to ask now, and say then what came of it; false if another does, or has within a
// time.
func (p *pulse) due(now time.Time, every time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking || now.Sub(p.asked) < every && !p.asked.IsZero() {
		return false
	}
	p.asking, p.asked = true, now
	return true
}

// heard says what came of a question. One that was given up says nothing of the primary.
func (p *pulse) heard(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = false
	switch {
	case err == nil:
		p.silent = time.Time{}
	case p.silent.IsZero() && !errors.Is(err, context.Canceled):
		p.silent = p.asked
	}
}

// silence is for how long questions have not been answered. It is of no use when nobody asks: where the last question
// is longer ago than a time, nothing is known.
func (p *pulse) silence(now time.Time, lately time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent.IsZero() || now.Sub(p.asked) > lately {
		return 0
	}
	return now.Sub(p.silent)
}

// abandoned reports whether the primary has been silent for too long for streams that require a leader.
func (p *pulse) abandoned(now time.Time, leaderTimeout time.Duration) bool {
	bound := silences * leaderTimeout
	return p.silence(now, bound) >= bound
}

// feel asks the primary to confirm a read, if that is due. A region that shows its history late does not ask: what
// comes there comes late on purpose.
func (a *API) feel(ctx context.Context, every time.Duration) {
	if a.recentHealth().Late != nil || !a.pulse.due(a.clock.Now(), every) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, a.limits.now().LeaderTimeout)
	defer cancel()
	err := a.barrier(bounded)
	if ctx.Err() != nil {
		err = context.Canceled
	}
	a.pulse.heard(err)
}
