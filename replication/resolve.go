package replication

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// waiting reports whether results of commands are wanted on this node.
func (p *pipeline) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights) > 0
}

// resolve tells units and requests what became of them, in the order of the log. It is called by the goroutine that applies.
func (p *pipeline) resolve(entries []applied) {
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
func (p *pipeline) land(t *applied) (lost []*unit, landed *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.flights) > 0 {
		f := p.flights[0]
		same := f.term == t.term && t.first == f.first && t.first != 0
		if !same && f.term >= t.term {
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
func (p *pipeline) deliver(f *flight, t *applied) {
	if t.outcome != timeline.Applied {
		p.again(f.units)
		return
	}
	position, results := t.first-1, t.results
	for _, u := range f.units {
		k := len(u.commands)
		position += Position(k)
		r := &Receipt{Epoch: t.epoch, Position: position, Regions: 1}
		if results != nil {
			r.Results, results = results[:k:k], results[k:]
		}
		p.applied(u, r)
	}
}

// answer ends the requests that t is or proves lost, and reports whether the right to write may have changed.
func (p *pipeline) answer(t *applied) bool {
	p.mu.Lock()
	ended := map[*request]requestResult{}
	for _, r := range p.controls {
		switch {
		case r.term == 0:
		case r.token != 0 && r.token == t.token, r.reign != nil && t.reign != nil && *r.reign == *t.reign:
			ended[r] = requestResult{applied: *t}
		case r.term < t.term:
			ended[r] = requestResult{err: ErrNotLeader}
		}
	}
	p.mu.Unlock()
	for r, res := range ended {
		p.settle(r, res)
	}
	return len(ended) > 0 || t.token != 0 || t.reign != nil
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
