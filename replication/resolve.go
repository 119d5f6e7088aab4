package replication

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// waiting reports whether results of commands are wanted on this node.
func (p *pipeline) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights) > 0
}

// resolve tells units and requests what became of them, in the order of the log. It is called by the goroutine that applies.
func (p *pipeline) resolve(entries []region.Outcome) {
	decided := false
	for i := range entries {
		t := &entries[i]
		lost, f := p.land(t)
		p.again(lost)
		if f != nil {
			p.deliver(f, t)
		}
		if p.answer(t) {
			decided = true
		}
	}
	p.nudge()
	if decided {
		p.evaluate()
	}
}

// land takes out the flight that t is, and those that t proves lost: terms never fall in a log, so that nothing of an earlier
// term can be applied behind an entry of a later one.
func (p *pipeline) land(t *region.Outcome) (lost []*unit, landed *flight) {
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
			return lost, f
		}
		lost = append(lost, f.units...)
	}
	return lost, nil
}

// deliver gives the units of a frame their results.
func (p *pipeline) deliver(f *flight, t *region.Outcome) {
	if t.Outcome != timeline.Applied {
		p.again(f.units)
		return
	}
	position, results := t.First-1, t.Results
	for _, u := range f.units {
		k := len(u.commands)
		position += Position(k)
		r := &Receipt{Epoch: t.Epoch, Position: position, Regions: 1}
		if results != nil {
			r.Results, results = results[:k:k], results[k:]
		}
		p.applied(u, r)
	}
}

// answer ends the requests that t is or proves lost, and reports whether the right to write may have changed.
func (p *pipeline) answer(t *region.Outcome) bool {
	p.mu.Lock()
	ended := map[*request]requestResult{}
	for _, r := range p.controls {
		switch {
		case r.term == 0:
		case r.token != 0 && r.token == t.Token, r.reign != nil && t.Reign != nil && *r.reign == *t.Reign:
			ended[r] = requestResult{applied: *t}
		case r.term < t.Term:
			ended[r] = requestResult{err: ErrNotLeader}
		}
	}
	p.mu.Unlock()
	for r, res := range ended {
		p.settle(r, res)
	}
	return len(ended) > 0 || t.Token != 0 || t.Reign != nil
}

// overtaken says that the state of another node took the place of this one's: entries were passed over unseen, and what is in flight may
// have been among them.
func (p *pipeline) overtaken() {
	err := fmt.Errorf("%w: this node was given a newer state", ErrUnknownOutcome)
	p.mu.Lock()
	flights, controls := p.flights, slices.Clone(p.controls)
	p.flights, p.inFlight = nil, 0
	p.mu.Unlock()
	for _, f := range flights {
		for _, u := range f.units {
			u.finish(result{err: err})
		}
	}
	for _, r := range controls {
		if r.term != 0 {
			p.settle(r, requestResult{err: err})
		}
	}
}

// abandon ends everything that waits, because the node stops.
func (p *pipeline) abandon(err error) {
	p.mu.Lock()
	queue, flights, controls := p.shut(), p.flights, slices.Clone(p.controls)
	p.term, p.flights = 0, nil
	p.mu.Unlock()
	for _, u := range queue {
		u.finish(result{err: err})
	}
	for _, f := range flights {
		for _, u := range f.units {
			u.finish(result{err: err})
		}
	}
	for _, r := range controls {
		p.settle(r, requestResult{err: err})
	}
}
