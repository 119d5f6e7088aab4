package transfer

import (
	"encoding/hex"
	"errors"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// lingers is how often Tidy finds that nobody will install a copy any more before it removes it: the leader of the next
// term may ask for what is held, and who fetches may ask for the rest of it.
const lingers = 5

// uselessFor is how often it finds that a copy would bring nothing before it removes it: ten minutes, as it is called.
// A node may be late, and a majority may count on what it has.
const uselessFor = 300

// unwanted is the part of a copy of which was found, so often in a row, that nobody comes back for it.
type unwanted struct {
	id    string
	found int
}

// Tidy removes copies that nobody can propose to install any more, and that no later leader has asked for, since terms
// never fall in a log; and those, whole or in part, that would bring nothing. It is called now and then. present is the
// term that this node is in: of a copy that an earlier process staged only this is known, which is no lower. full says
// that this node waits for room on its disk, and applies nothing until there is some. Whole copies stay then: a
// majority may count on them.
func (s *Staging) Tidy(present uint64, full bool) {
	names, err := s.config.FS.List(s.config.Dir)
	if err != nil {
		return // nothing was staged yet
	}
	s.tidyIncoming(full)
	s.tidyGone(names)
	applied := s.config.Applied.View().Term
	for _, id := range names {
		if !isID(id) {
			continue
		}
		useless := s.holdsNothingNew(id)
		s.mu.Lock()
		term, known := s.terms[id]
		if !known {
			s.terms[id] = present
		}
		over := false
		switch {
		case known && applied > term:
			s.past[id]++
			over = s.past[id] >= lingers
		case known && useless:
			s.useless[id]++
			over = s.useless[id] >= uselessFor
		default:
			delete(s.useless, id)
		}
		s.mu.Unlock()
		if over {
			s.Discard(id)
		}
	}
}

// tidyGone forgets copies that were discarded and are not here any more. What is known of one that is not here may be
// for one that comes.
func (s *Staging) tidyGone(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, term := range s.terms {
		if term == 0 && !slices.Contains(names, id) {
			s.forget(id)
		}
	}
}

// tidyIncoming removes the part of a copy that came before the transfer broke off, if nobody fetches, and the rest of
// it would bring nothing: else it would lie there until another copy comes, which may be never. While the disk is full
// it goes whatever the rest would bring, unless that is what this node waits for, and there was room for it: what it
// has applied comes no further meanwhile, so that the part would never be found to bring nothing. What is left of a
// part of which some was removed goes as well.
func (s *Staging) tidyIncoming(full bool) {
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	default:
		s.finds("") // whoever fetches decides
		return
	}
	if s.stuck || s.isRest() {
		s.finds("")
		if s.removeIncoming() {
			s.config.Logger.Info("the rest of a part of a copy was removed", "dir", s.incoming())
		}
		return
	}
	m, err := s.came()
	if err != nil {
		s.finds("")
		return
	}
	crowds := full && (s.short || s.Awaits() == "")
	if !crowds && !s.bringsNothing(m) {
		s.finds("")
		return
	}
	id := hex.EncodeToString(m.ID[:])
	if s.finds(id) < uselessFor && !crowds {
		return
	}
	switch removed := s.removeIncoming(); {
	case removed && crowds:
		s.config.Logger.Warn("the part of a copy was removed, since there is no room on the disk", "copy", id)
	case removed:
		s.config.Logger.Info("the part of a copy was removed, which would bring nothing here any more", "copy", id)
	}
}

// isRest reports whether what is in the place for what comes in has no manifest, or is not what that says: nobody can
// go on with it. The caller has the place.
func (s *Staging) isRest() bool {
	fs, dir := s.config.FS, s.incoming()
	if _, err := fs.Stat(dir); err != nil {
		return false
	}
	_, part := checkpoint.Partial(fs, dir)
	_, whole := checkpoint.Load(fs, dir)
	return isBroken(part) && isBroken(whole)
}

func isBroken(err error) bool {
	return errors.Is(err, checkpoint.ErrIncomplete) || errors.Is(err, checkpoint.ErrCorrupt) ||
		errors.Is(err, checkpoint.ErrFormat)
}

// removeIncoming removes what is in the place for what comes in, and reports whether it is gone. If it is not, the next
// Tidy tries again, unless more has come by then. The caller has the place.
func (s *Staging) removeIncoming() bool {
	s.memory = checkpoint.Memory{}
	err := checkpoint.Remove(s.config.FS, s.incoming())
	if err != nil && !s.stuck { // it is said once
		s.config.Logger.Warn("the part of a copy that nobody needs is not removed; it is tried again", "dir",
			s.incoming(), "err", err)
	}
	s.stuck = err != nil
	return err == nil
}

// finds notes of which copy a part is here that nobody needs, "" if of none, and returns how often in a row.
func (s *Staging) finds(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwanted.id != id {
		s.unwanted = unwanted{id: id}
	}
	s.unwanted.found++
	return s.unwanted.found
}

// holdsNothingNew reports whether a whole copy of another region would bring nothing. Those of the own region stay
// until who fetched them lets go of them.
func (s *Staging) holdsNothingNew(id string) bool {
	m, err := checkpoint.Load(s.config.FS, s.dir(id))
	if err != nil {
		return false
	}
	_, d, err := described(m)
	return err == nil && d.Region != s.config.Region && s.bringsNothing(m)
}

// bringsNothing reports whether a copy is of no use here, as things are: this node has applied as much, or its region
// leads.
func (s *Staging) bringsNothing(m *checkpoint.Manifest) bool {
	_, d, err := described(m)
	if err != nil {
		return false
	}
	v := s.config.Applied.View()
	switch {
	case d.Region == s.config.Region:
		return d.Index <= v.Index
	case v.State.Role() == timeline.Primary:
		return true
	default:
		return v.State.Diverged == nil && d.Origin.Cursor.Position <= v.State.Cursor.Position
	}
}
