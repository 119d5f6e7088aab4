package slots

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Retain keeps the log from the first entry that some other region still needs, within the bounds. It is called once
// before the Raft group runs, and then by Run. It is safe for concurrent use.
func (s *Slots) Retain() {
	s.retaining.Lock()
	defer s.retaining.Unlock()
	c := &s.config
	v := c.Applied.View()
	state := &v.State
	s.turn(state)
	s.resumeCopies(v)
	s.reviewCopies(state)
	c.Log.bound(s.widest())
	regions := c.Others()
	if len(regions) == 0 {
		c.Log.Log.Unpin(pin) // of when there was another one
		return
	}
	if timeline.Supersedes(state.HighestClaim(), timeline.Latest(state.Reigns)) {
		c.Log.Log.Pin(pin, 0) // there may be a fork, and a tail to be saved from all that is held
		return
	}
	least, _, err := c.Log.behind(state.Cursor.Position)
	if err != nil {
		least = v.Index + 1
	}
	for _, region := range regions {
		if index, kept := s.neededBy(state, region); kept {
			least = min(least, index)
		}
	}
	c.Log.Log.Pin(pin, least)
}

// neededBy returns from where log is kept for a region; kept is false if none is: it fell behind the bound, or what it
// needs is gone.
func (s *Slots) neededBy(state *timeline.State, region string) (index uint64, kept bool) {
	at, bound := s.standing(state, region), s.boundFor(region)
	if at.lost {
		s.giveUp(region, at.position, bound)
		return 0, false
	}
	index, bytes, err := s.config.Log.behind(at.position)
	switch {
	case err == nil && bytes > bound && at.atMost:
		s.giveUp(region, at.position, bound)
		return 0, false
	case !at.exact, err != nil && !isGone(err): // a damaged entry does not tell where it stands
		index = s.config.Log.oldest(bound)
	case err != nil:
		return 0, false
	}
	s.keepFor(region)
	return index, true
}

// place is where a region stands, as far as is known.
type place struct {
	position contract.Position
	exact    bool // it is there; else it may be anywhere before
	atMost   bool // it is there or before
	lost     bool // log was given up for it, and it has not moved since
}

// standing returns where a region stands. A region that the primary did not hear of in its reign stands at most where
// the reign began: it followed another then. A secondary keeps log for the day on which it is primary: until then it
// goes by what the others report, or reported last.
func (s *Slots) standing(state *timeline.State, region string) place {
	if p, ok := s.copyingFrom(state, region); ok {
		return place{position: p, exact: true, atMost: true}
	}
	if state.Role() != timeline.Primary {
		v, _ := s.config.Fleet.View()
		if l := v.Regions[region].Leader(); l != nil {
			s.reported[region] = shared(l.Origin(), state)
		}
		p, heard := s.reported[region]
		return place{position: p, exact: heard, atMost: heard}
	}
	slot, known := slotOf(state, region)
	if !known || slot.Position == 0 {
		began := max(timeline.Latest(state.Reigns).First, 1) - 1
		return place{position: began, atMost: true, lost: slot.Lost}
	}
	return place{position: slot.Position, exact: true, atMost: true, lost: slot.Lost}
}

// shared returns where a region goes on in the history of the state s: where it is, or, if it has to give up what it
// has behind a fork, there.
func shared(o timeline.Origin, s *timeline.State) contract.Position {
	relation, fork := timeline.Compare(o.Reigns, s.Reigns, o.Cursor.Position, s.Cursor.Position)
	if relation == timeline.Forked {
		return fork
	}
	return o.Cursor.Position
}

// turn forgets for whom log was given up when another reign has begun: what the regions need is counted anew.
func (s *Slots) turn(state *timeline.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if latest := timeline.Latest(state.Reigns); latest != s.reign {
		s.reign = latest
		clear(s.givenUp)
	}
}

// giveUp says once that a region will bootstrap.
func (s *Slots) giveUp(region string, p contract.Position, bound int64) {
	s.mu.Lock()
	told := s.givenUp[region]
	s.givenUp[region] = true
	s.mu.Unlock()
	if !told {
		s.config.Logger.Warn("log is not kept for a region any more: it will bootstrap by a copy when it comes back; "+
			"a larger RetainBytes keeps more", "secondary", region, "position", p, "bound", bound)
	}
}

func (s *Slots) keepFor(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.givenUp, region)
}

// gaveUp reports whether this node keeps no log for a region.
func (s *Slots) gaveUp(region string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.givenUp[region]
}
