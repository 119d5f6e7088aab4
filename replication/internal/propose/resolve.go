package propose

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// waiting reports whether results of commands are wanted on this node.
func (p *pipeline) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights) > 0
}

// resolve tells proposals and requests what became of them, in the order of the log. It is called by the goroutine
// that applies.
func (p *pipeline) resolve(outcomes []region.Outcome) {
	decided := false
	for i := range outcomes {
		t := &outcomes[i]
		lost, f := p.land(t)
		p.back.requeue(lost)
		if f != nil {
			p.deliver(f, t)
		}
		if p.decide(t) {
			decided = true
		}
	}
	p.wake.Nudge()
	if decided {
		p.evaluate()
	}
	p.check()
}

// land takes out the flight that t is, and those that t proves lost: terms never fall in a log, so that nothing of an
// earlier term can be applied behind an entry of a later one.
func (p *pipeline) land(t *region.Outcome) (lost []*proposal, landed *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.flights) > 0 {
		f := p.flights[0]
		same := f.term == t.Term && t.First == f.first && t.First != 0
		if !same && f.term >= t.Term {
			break
		}
		p.flights = p.flights[1:]
		p.inFlight -= f.bytes
		if same {
			p.landed = p.clock.Now()
			return lost, f
		}
		lost = append(lost, f.proposals...)
	}
	return lost, nil
}

// deliver gives the proposals of a frame their results.
func (p *pipeline) deliver(f *flight, t *region.Outcome) {
	if t.Outcome != timeline.Applied {
		p.back.requeue(f.proposals)
		return
	}
	position, results := t.First-1, t.Results
	for _, u := range f.proposals {
		k := len(u.commands)
		position += contract.Position(k)
		r := &contract.Receipt{Epoch: t.Epoch, Position: position, Regions: 1}
		if results != nil {
			r.Results, results = given(results[:k:k]), results[k:]
		}
		if u.trace != nil {
			u.trace.note("position", int64(position))
		}
		p.applied(u, r)
	}
}

// given returns results as they are delivered: an empty one is never nil, here as on a node that was told.
func given(results [][]byte) [][]byte {
	if !slices.ContainsFunc(results, func(r []byte) bool { return r == nil }) {
		return results
	}
	results = slices.Clone(results)
	for i := range results {
		if results[i] == nil {
			results[i] = []byte{}
		}
	}
	return results
}

// applied answers a proposal that is applied, or keeps it until it may be acknowledged. What comes behind one that is
// kept waits with it.
func (p *pipeline) applied(u *proposal, r *contract.Receipt) {
	regions, admitted := p.standing.Admits(r.Epoch, r.Position)
	if !u.apart && p.holds() || !admitted {
		p.hold(u, r)
		return
	}
	p.acknowledge(u, r, regions)
}

// acknowledge answers a proposal that is admitted once so many regions have it: at once, or, where it needs more than
// this one or asks for more, when those have it. What is in too few of them already is told so.
func (p *pipeline) acknowledge(u *proposal, r *contract.Receipt, regions int) {
	asked := u.asked(p.regions)
	if u.short != nil || max(asked, regions) <= 1 {
		u.finish(result{receipt: r, err: u.short})
		return
	}
	if r.Regions >= max(asked, regions) {
		u.finish(unlessCut(p.standing, result{receipt: r}))
		return
	}
	u.trace.on(contract.PartRegions)
	p.durability.Await(asked, r, p.patience(u), u.gone, func(r *contract.Receipt, err error) {
		if err != nil {
			u.finish(unlessCut(p.standing, result{receipt: r, err: err}))
			return
		}
		regions, admitted := p.standing.Admits(r.Epoch, r.Position)
		if !admitted { // the last region was heard when the lease was over
			p.hold(u, r)
			return
		}
		p.acknowledge(u, r, regions)
	})
}

// patience returns until when u waits for further regions. That is a little before its caller gives up, so that the
// receipt still reaches him; what comes from another node says such a time already.
func (p *pipeline) patience(u *proposal) time.Time {
	if u.deadline.IsZero() || u.from != nil {
		return u.deadline
	}
	return u.deadline.Add(-max(u.deadline.Sub(p.clock.Now()), 0) / 10)
}

// decide ends the requests that t is or proves lost, and reports whether the right to write may have changed.
func (p *pipeline) decide(t *region.Outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	settled := p.settle(func(r *request) *answer {
		switch {
		case r.term == 0:
			return nil
		case r.token != 0 && r.token == t.Token, r.reign != nil && t.Reign != nil && *r.reign == *t.Reign:
			return &answer{outcome: *t}
		case r.term < t.Term:
			return &answer{err: contract.ErrNotLeader}
		default:
			return nil
		}
	})
	return settled || t.Token != 0 || t.Reign != nil
}

// overtaken says that the state of another node took the place of this one's: entries were passed over unseen, and
// what is in flight may have been among them.
func (p *pipeline) overtaken() {
	err := fmt.Errorf("%w: this node was given a newer state", contract.ErrUnknownOutcome)
	p.mu.Lock()
	flights := p.flights
	p.flights, p.inFlight = nil, 0
	p.settle(func(r *request) *answer {
		if r.term == 0 {
			return nil
		}
		return &answer{err: err}
	})
	p.mu.Unlock()
	finish(flights, err)
	p.check()
}

// abandon ends everything that waits, because the node stops.
func (p *pipeline) abandon(err error) {
	p.mu.Lock()
	queue, flights := p.shut(), p.flights
	p.ended, p.term, p.flights, p.inFlight = err, 0, nil, 0
	kept := slices.Concat(p.held, p.seen)
	p.held, p.seen = nil, nil
	p.settle(func(*request) *answer { return &answer{err: err} })
	p.mu.Unlock()
	for _, u := range queue {
		u.finish(result{err: err})
	}
	for _, h := range kept {
		h.proposal.finish(result{err: err})
	}
	finish(flights, err)
	p.check()
}

func finish(flights []*flight, err error) {
	for _, f := range flights {
		for _, u := range f.proposals {
			u.finish(result{err: err})
		}
	}
}
