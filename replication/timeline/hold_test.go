package timeline

import (
	"errors"
	"testing"
	"time"
)

// TestAHoldIsNotForOlderNodes, which would drop it, and vote while somebody relies on their promise; nor is what is to
// be known of one afterwards.
func TestAHoldIsNotForOlderNodes(t *testing.T) {
	for what, test := range map[string]struct {
		version byte
		change  func(c *Charter)
	}{
		"held":    {holdVersion, func(c *Charter) { c.Hold = &Hold{For: time.Minute, Until: time.Unix(1, 0)} }},
		"ended":   {holdVersion, func(c *Charter) { c.Under = Under{1, 7} }},
		"counted": {countVersion, func(c *Charter) { c.Hold = &Hold{time.Minute, time.Unix(1, 0), true} }},
	} {
		s := chartered("eu")
		test.change(&s.Ballot.Charter)
		record, err := s.EncodeRecord()
		if err != nil || record[0] != test.version {
			t.Fatalf("%s: a state of version %d, %v", what, record[0], err)
		}
		back, err := DecodeRecord(record, s.Cursor)
		if err != nil || !back.Ballot.Charter.Hold.Same(s.Ballot.Charter.Hold) ||
			back.Ballot.Charter.Under != s.Ballot.Charter.Under {
			t.Errorf("%s: became %+v, %v", what, back.Ballot.Charter, err)
		}
		p, err := EncodeControl(&Control{Op: OpCharter, Charter: &s.Ballot.Charter})
		if err != nil || p[0] != test.version {
			t.Errorf("%s: a control of version %d, %v", what, p[0], err)
		}
		if _, err := DecodeControl(p); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, version := range []byte{holdVersion, countVersion} {
		if _, err := KindOf([]byte{version, byte(KindFrame)}); !errors.Is(err, ErrVersion) {
			t.Errorf("a frame of version %d: %v", version, err)
		}
	}
	if p, err := EncodeControl(&Control{Op: OpCount}); err != nil || p[0] != countVersion {
		t.Errorf("what counts a hold: version %d, %v", p[0], err)
	}
}

// TestWhatIsNotedOfAHold is of that hold alone, and each note has a number.
func TestWhatIsNotedOfAHold(t *testing.T) {
	s := chartered("eu")
	hold := &Hold{time.Hour, time.Unix(1, 0).UTC(), true}
	s.Ballot.Charter.Hold = hold
	m := NewMachine(s)
	for _, c := range []struct {
		hold *Hold
		over time.Duration
		want Outcome
		then Count
	}{
		{hold, 0, Applied, Count{1, 0}},
		{hold, 40 * time.Minute, Applied, Count{2, 40 * time.Minute}},
		{hold, 30 * time.Minute, Applied, Count{3, 30 * time.Minute}}, // by somebody who saw it later
		{hold, time.Hour + 1, Refused, Count{3, 30 * time.Minute}},
		{hold, -1, Refused, Count{3, 30 * time.Minute}},
		{&Hold{time.Minute, hold.Until, true}, 0, Refused, Count{3, 30 * time.Minute}},
		{nil, 0, Refused, Count{3, 30 * time.Minute}},
		{hold, time.Hour, Applied, Count{4, time.Hour}},
	} {
		outcome, why, err := m.Control(&Control{Op: OpCount, Hold: c.hold, Over: c.over})
		if state := m.State(); outcome != c.want || err != nil || state.Ballot.Count != c.then {
			t.Errorf("%v of %+v: %v %q %v, %+v", c.over, c.hold, outcome, why, err, state.Ballot.Count)
		}
	}
	next := s.Ballot.Charter
	next.Epoch, next.Voters = 2, next.Voters[:3]
	for _, held := range []bool{true, false} { // another charter in the hold, and the one that ends it
		next.Number++
		if !held {
			next = *next.Ends(5)
		}
		_, _, err := m.Control(&Control{Op: OpCharter, Charter: &next, To: "us"})
		if state := m.State(); err != nil || (state.Ballot.Count.Number != 0) != held {
			t.Errorf("held %t: %v, %+v", held, err, state.Ballot)
		}
	}
}

// TestWhatAHoldBounds: never more than was said is left, whatever the wall clock says; and in one there is no ceiling,
// but what was acknowledged when it is over.
func TestWhatAHoldBounds(t *testing.T) {
	until := time.Unix(1000, 0)
	h := &Hold{For: time.Minute, Until: until}
	for _, c := range []struct {
		hold  *Hold
		known time.Duration
		wall  time.Time
		want  time.Duration
	}{
		{nil, 0, until, 0}, {h, 0, until.Add(-time.Minute), time.Minute}, {h, 0, until.Add(-time.Hour), time.Minute},
		{h, 20 * time.Second, until.Add(-time.Hour), 40 * time.Second},
		{h, 0, until.Add(-10 * time.Second), 10 * time.Second}, {h, 0, until.Add(time.Second), 0},
		{h, time.Hour, until.Add(-time.Hour), 0},
	} {
		if got := c.hold.Left(c.known, c.wall); got != c.want {
			t.Errorf("%+v after %v at %v: %v left", c.hold, c.known, c.wall, got)
		}
	}
	b := &Ballot{Known: Known{Reigns: []Reign{{Epoch: 3, Primary: "us", First: 1}}, Ceiling: 10}}
	for _, c := range []struct {
		charter Charter
		want    Position
	}{
		{Charter{Epoch: 3}, 10}, {Charter{Epoch: 3, Hold: h}, Position(NoBound)}, {Charter{Epoch: 4, Hold: h}, 10},
		{Charter{Epoch: 4, Under: Under{3, 17}}, 17}, {Charter{Epoch: 3, Under: Under{3, 7}}, 10},
		{Charter{Epoch: 4, Under: Under{2, 17}}, 10},
	} {
		if b.Charter = c.charter; b.Bound().Ceiling != c.want {
			t.Errorf("%+v: bound %d, want %d", c.charter, b.Bound().Ceiling, c.want)
		}
	}
	held := &Charter{Epoch: 3, Number: 1, Hold: h}
	if next := held.Next(3, 5); !next.Hold.Same(h) || next.Number != 2 {
		t.Errorf("of the same reign: %+v", next)
	}
	if next := held.Next(4, 5); next.Hold != nil || next.Under != (Under{3, 5}) {
		t.Errorf("of the next reign: %+v", next)
	}
}
