package ballot

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ruler is a region in an epoch, as a voter supports it.
type Ruler struct {
	Epoch  timeline.Epoch
	Region string
}

// Rules reports whether it is known that voters of the charter of a region in the state s decided the highest reign
// that it knows of (B1): only they can decide that it is over. A reign that a recovery began by another charter is none
// of theirs, and goes on without them; but to begin one its region writes its charter first, so that it knows of its
// own by whom they were decided. supports is whom the region's own voter supports, and answers are what the others
// said.
func Rules(s *timeline.State, supports Ruler, answers map[string]*Answer) bool {
	r, c := s.HighestClaim(), s.Charter()
	ruler := Ruler{r.Epoch, r.Primary}
	own := r.Primary == s.Region && r == timeline.Latest(s.Reigns)
	if own || c.Epoch >= r.Epoch || s.Ballot.Known.Epoch() >= r.Epoch || supports == ruler ||
		ruler == (Ruler{s.Ballot.Promised, s.Ballot.For}) && moved(s.Ballot.Moves, r.Epoch) {
		return true
	}
	for id, a := range answers {
		v := c.Voter(id)
		if v == nil || a.Charter != nil && a.Charter.Mark() != c.Mark() {
			continue
		}
		// A region may have taken note of a reign that it found in the history, and keeps its vote for a move only; a
		// witness knows only what it voted for.
		voted := (v.Witness() || moved(a.Moves, r.Epoch)) && ruler == Ruler{a.Promised, a.For}
		if voted || a.Known.Epoch() >= r.Epoch || ruler == a.Ruler {
			return true
		}
	}
	return false
}

// moved reports whether a voter that remembers these moves voted for one in this epoch.
func moved(moves []timeline.Move, e timeline.Epoch) bool {
	return slices.ContainsFunc(moves, func(m timeline.Move) bool { return m.Epoch == e })
}

// Unruled says that Rules does not hold.
func Unruled(s *timeline.State) string {
	r, c := s.HighestClaim(), s.Charter()
	return fmt.Sprintf("epoch %d of %s is not known to be decided by the voters of charter %d of epoch %d: if %s is "+
		"lost for good, recover", r.Epoch, r.Primary, c.Number, c.Epoch, r.Primary)
}

// Used reports whether a reign that is later than all that a region in the state s has may have taken writes, by what
// voters know: then they are lost with the next one of this region.
func Used(s *timeline.State, answers map[string]*Answer) bool {
	for _, a := range answers {
		if a.Known.Epoch() > s.Cursor.Epoch {
			return true
		}
	}
	return false
}
