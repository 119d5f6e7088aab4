package succession

import (
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// works brings what the region's leader has running one step forward: a stream takes what its source has, everything
// else ends.
func (w *world) works(p *place) {
	for late := p.late; len(late) > 0; late = late[1:] {
		p.late = late[1:]
		w.step(p, late[0])
	}
	e, stopped := p.running, p.stopping
	if e == nil {
		return
	}
	if e.Do == Rewind && p.marks == "hang" && !stopped {
		return
	}
	for slices.ContainsFunc(p.log, func(e entry) bool { return e.streamed != nil }) {
		w.commit(p) // a stream goes on, and ends, once what it proposed is applied
	}
	source := w.at(e.Source)
	ended := Ended{ID: e.ID}
	switch {
	case stopped:
		ended.Err = context.Canceled
	case !source.leads() && e.Do != Rewind:
		ended.Err = fmt.Errorf("%s does not answer", source.name)
	case e.Do == Stream:
		switch ended.Fork = fork(p, source); {
		case ended.Fork != nil:
			w.say("%s: forks from %s after %d", p.name, source.name, ended.Fork.Position)
		case behind(p, source):
			ended.Err = fmt.Errorf("%s is behind", source.name)
		case p.state().Cursor.Position < source.trimmed:
			w.say("%s: finds that the log of %s begins behind %d", p.name, source.name, source.trimmed)
			ended.NeedsCopy = true
		default:
			w.stream(p, source)
			w.step(p, nil)
			return
		}
	case source.state().Cursor.Epoch < e.Epoch && e.Do == Fetch:
		ended.Err = fmt.Errorf("%s is at epoch %d", source.name, source.state().Cursor.Epoch)
	case e.Do == Rewind && p.marks == "none":
		ended.Err = fmt.Errorf("no checkpoint of %s leads to the fork", p.name)
	case e.Do == Rewind && p.marks == "away":
		ended.Err, ended.Again = fmt.Errorf("nodes of %s do not answer", p.name), true
	case e.Do == Rewind:
		ended.Copy = w.goesBack(p, source, e.Reigns)
	case e.Do == Stage && p.spoiled:
		ended.Err, ended.Gone, p.spoiled = fmt.Errorf("what arrives is not what was fetched"), true, false
	case e.Do == Fetch:
		s := source.state().Clone()
		c := copyOf{timeline.Origin{Cursor: s.Cursor, Reigns: s.Reigns}, slices.Clone(source.history)}
		id := fmt.Sprintf("%s@%d", source.name, s.Cursor.Position)
		p.copies[id] = c
		ended.Copy = &Copy{ID: id, Origin: c.origin}
	}
	p.running, p.stopping = nil, false
	outcome := "done"
	if ended.Err != nil && !stopped {
		outcome = ended.Err.Error()
	}
	w.say("%s: ends to %s from %s: %s", p.name, e.Do, e.Source, outcome)
	w.step(p, ended)
}

// goesBack makes the state at the fork of p, with those of the reigns of the source that begin there.
func (w *world) goesBack(p, source *place, reigns []timeline.Reign) *Copy {
	at := p.state().Diverged.Fork
	reigns = timeline.Until(reigns, at)
	last := timeline.Latest(reigns)
	id := fmt.Sprintf("own@%d", at)
	if last.First <= at {
		p.copies[id] = p.upTo(at, reigns)
		return &Copy{ID: id, Origin: p.copies[id].origin}
	}
	n := slices.IndexFunc(source.history, func(e any) bool { return e == any(last) })
	if n < 0 || last.First != at+1 {
		w.breaks("%s goes back to %d for epoch %d, which begins at %d", p.name, at, last.Epoch, last.First)
		return nil
	}
	chain := timeline.NewFolder().Reign(last.Previous, last)
	c := copyOf{
		timeline.Origin{Cursor: timeline.Cursor{Epoch: last.Epoch, Position: at, Chain: chain}, Reigns: reigns},
		slices.Clone(source.history[:n+1]),
	}
	p.copies[id] = c
	return &Copy{ID: id, Origin: c.origin}
}

// upTo returns what p has up to a position, to which these reigns lead.
func (p *place) upTo(at timeline.Position, reigns []timeline.Reign) (c copyOf) {
	cursor := timeline.Cursor{Position: at}
	for _, e := range p.history {
		switch e := e.(type) {
		case timeline.Frame:
			of := func(r timeline.Reign) bool { return r.Epoch == e.Epoch }
			if e.Last() > at || !slices.ContainsFunc(reigns, of) {
				continue
			}
			cursor.Chain = timeline.NewFolder().Frame(&e)
		case timeline.Reign:
			if !slices.Contains(reigns, e) {
				continue
			}
			cursor.Epoch, cursor.Chain = e.Epoch, timeline.NewFolder().Reign(e.Previous, e)
		}
		c.history = append(c.history, e)
	}
	c.origin = timeline.Origin{Cursor: cursor, Reigns: reigns}
	return c
}

// fork returns where p's history parts from the source's, nil if it does not.
func fork(p, source *place) *Fork {
	s, o := p.state(), source.state()
	relation, shared := timeline.Compare(s.Reigns, o.Reigns, s.Cursor.Position, o.Cursor.Position)
	if relation == timeline.Forked {
		return &Fork{Position: shared, Source: slices.Clone(o.Reigns)}
	}
	return nil
}

// behind reports whether the source lacks something of p's history.
func behind(p, source *place) bool {
	s, o := p.state(), source.state()
	relation, _ := timeline.Compare(s.Reigns, o.Reigns, s.Cursor.Position, o.Cursor.Position)
	return relation == timeline.Extends && (len(s.Reigns) > len(o.Reigns) || s.Cursor.Position > o.Cursor.Position)
}

// stream takes what the source has and p has not.
func (w *world) stream(p, source *place) {
	before := p.state().Cursor
	for _, e := range source.history {
		if lostWithDisks(p, e) {
			break
		}
		if ahead(p, e) {
			_, _ = w.streamed(p, e)
		}
	}
	if c := p.state().Cursor; c != before {
		w.say("%s: follows %s to %d of epoch %d", p.name, source.name, c.Position, c.Epoch)
	}
	w.check()
}

// streams takes that to p's log, behind what is proposed there; blindly, as earlier versions did, also what p began
// itself and has forgotten.
func (w *world) streams(p *place, blindly bool) {
	source := w.at(p.running.Source)
	if !source.leads() || fork(p, source) != nil || behind(p, source) || p.state().Cursor.Position < source.trimmed {
		return
	}
	for _, e := range source.history {
		if !blindly && lostWithDisks(p, e) {
			return
		}
		if ahead(p, e) {
			p.log = append(p.log, entry{streamed: e})
		}
	}
}

// lostWithDisks is as the stream has it: a reign of p that p has not got.
func lostWithDisks(p *place, e any) bool {
	r, ok := e.(timeline.Reign)
	return ok && r.Primary == p.name && !slices.Contains(p.state().Reigns, r)
}

func ahead(p *place, e any) bool {
	f, ok := e.(timeline.Frame)
	return !ok || f.Last() > p.state().Cursor.Position || f.Epoch > p.state().Cursor.Epoch
}

// streamed applies an entry that a stream brought. None may stop the region.
func (w *world) streamed(p *place, e any) (outcome timeline.Outcome, why string) {
	var err error
	switch e := e.(type) {
	case timeline.Frame:
		outcome, why, err = p.machine.Frame(&e)
	case timeline.Reign:
		outcome, why, err = p.machine.Reign(e)
	}
	if err != nil {
		w.breaks("%s stops for good: %v", p.name, err)
	}
	if outcome == timeline.Applied {
		p.history = append(p.history, e)
	}
	return outcome, why
}
