package ballot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Flapping says that the primary moved by itself as often as the charter of s allows, as far as moves tell, and until
// when nothing does; zero: it may. begun are reigns, beside those that s knows of, of which somebody told.
func Flapping(
	s *timeline.State, moves []timeline.Move, begun []timeline.Reign, wall time.Time,
) (why string, until time.Time) {
	bound := s.Charter().Bound()
	recent := Moves(s, moves, begun, wall)
	if until = bound.Until(recent); until.IsZero() {
		return "", until
	}
	return Moved(len(recent), bound.Within, until), until
}

// Moved says that the primary moved by itself that often, and until when it does not again.
func Moved(times int, within time.Duration, until time.Time) string {
	often := "once"
	if times != 1 {
		often = fmt.Sprintf("%d times", times)
	}
	return fmt.Sprintf("the primary moved by itself %s within %s, and does not again before %s; by order it does",
		often, brief(within), until.UTC().Format(time.RFC3339))
}

// brief writes 10m where a duration says 10m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Moves returns those of the moves, and of those that s knows of, that count now.
func Moves(s *timeline.State, moves []timeline.Move, begun []timeline.Reign, wall time.Time) []timeline.Move {
	all := timeline.Merge(timeline.Merge(moves, s.Ballot.Moves), s.Charter().Returns)
	return s.Charter().Bound().Recent(all, func(e timeline.Epoch) bool {
		is := func(r timeline.Reign) bool { return r.Epoch == e }
		return slices.ContainsFunc(s.Reigns, is) || slices.ContainsFunc(begun, is) || s.HighestClaim().Epoch == e
	}, wall)
}

// flapping says why the region does not take over although a majority would vote for it, "" if it does. A primary that
// goes on by a new epoch moves nowhere.
func (c *Candidate) flapping() string {
	if c.view.State.Role() == timeline.Primary {
		return ""
	}
	var moves []timeline.Move
	var begun []timeline.Reign
	for _, a := range c.answers {
		moves = timeline.Merge(moves, a.Moves)
		if a.Charter != nil {
			moves = timeline.Merge(moves, a.Charter.Returns)
		}
		begun = append(begun, slices.Concat(a.Reigns, a.Known.Reigns)...)
	}
	why, _ := Flapping(c.view.State, moves, begun, c.view.Wall)
	return why
}
