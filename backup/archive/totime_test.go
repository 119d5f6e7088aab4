package archive

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv"
)

// TestToATimeBetweenSegments: a snapshot of just where a segment ends is the answer to a time at which what comes next
// was not archived; and what ends at position zero ends.
func TestToATimeBetweenSegments(t *testing.T) {
	later := func(seconds int, m Mark) Mark {
		m.Time = noon.Add(time.Duration(seconds) * time.Second)
		return m
	}
	h := newStory().reign(1, "us", false)
	for i := range 2 {
		h.frame(string(put("a", fmt.Sprint(i), 0)))
	}
	shelf := newShelf()
	for _, s := range []*Segment{
		h.segment(0, 1, later(0, Mark{})),
		h.segment(1, 2, later(10, Mark{Position: 1})),
		h.segment(2, 3, later(20, Mark{Position: 2}), later(30, Mark{Position: 2})),
	} {
		text, l, err := Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		shelf.objects[l.Name()] = text
	}
	links := shelf.links(t)
	branches, _, err := Branches(t.Context(), shelf, links)
	if err != nil || len(branches) != 1 {
		t.Fatal(branches, err)
	}
	replay := func(s *kv.Store, to Target) (Reached, error) {
		return (&Replay{Store: shelf, Links: links, Branch: branches[0], Until: to}).Run(t.Context(), s)
	}
	for _, c := range []struct {
		from Target // the snapshot; none of it: an empty store
		at   int    // seconds behind noon
		want int    // the position that is reached; -1: the snapshot is of later
	}{
		{Target{}, 5, 0}, {Target{}, 10, 1}, {Target{}, 19, 1}, {Target{}, 25, 2}, {Target{Position: 1}, 9, -1},
		{Target{Position: 1}, 10, 1}, {Target{Position: 1}, 15, 1}, {Target{Position: 1}, 20, 2},
		{Target{Cursor: h.at(2).Cursor}, 15, 1}, {Target{Position: 2}, 19, -1}, {Target{Position: 2}, 20, 2},
		{Target{Position: 2}, 25, 2}, {Target{Position: 2}, 30, 2},
	} {
		s := image(nil).open(t)
		if c.from != (Target{}) {
			if _, err := replay(s, c.from); err != nil {
				t.Fatal(err)
			}
		}
		got, err := replay(s, Target{Time: later(c.at, Mark{}).Time})
		switch {
		case c.want < 0 && !errors.Is(err, ErrLater):
			t.Errorf("from %v to %d s: %+v, %v", c.from, c.at, got, err)
		case c.want >= 0 && (err != nil || int(got.Cursor.Position) != c.want || got.Before.Time.After(noon.Add(
			time.Duration(c.at)*time.Second))):
			t.Errorf("from %v to %d s: %+v, %v, want position %d", c.from, c.at, got, err, c.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
