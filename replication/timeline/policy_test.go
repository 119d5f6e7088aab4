package timeline

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// TestHowOftenThePrimaryMovesByItself: those of the window count that are known to have begun an epoch.
func TestHowOftenThePrimaryMovesByItself(t *testing.T) {
	now := time.Unix(10_000, 0)
	ago := func(epoch Epoch, d time.Duration) Move { return Move{epoch, now.Add(-d)} }
	three := []Move{ago(2, 9*time.Minute), ago(3, 5*time.Minute), ago(5, time.Minute)}
	for what, test := range map[string]struct {
		flap  Flap
		moves []Move
		until time.Duration // from now on; zero: it may move
	}{
		"none":                        {DefaultFlap, nil, 0},
		"two":                         {DefaultFlap, three[1:], 0},
		"three":                       {DefaultFlap, three, time.Minute},
		"four":                        {DefaultFlap, append(three, ago(6, 0)), 5 * time.Minute},
		"one is too long ago":         {DefaultFlap, []Move{ago(2, 10*time.Minute), three[1], three[2]}, 0},
		"one never began":             {DefaultFlap, append(three[1:], ago(99, time.Minute)), 0},
		"there is no bound":           {Flap{0, time.Minute}, three, 0},
		"one is allowed":              {Flap{1, time.Hour}, three, 59 * time.Minute},
		"a clock that runs ahead":     {DefaultFlap, append(three[1:], ago(6, -time.Minute)), 5 * time.Minute},
		"a clock that is not of then": {DefaultFlap, append(three[1:], ago(6, -time.Hour)), 0},
	} {
		recent := test.flap.Recent(test.moves, func(e Epoch) bool { return e != 99 }, now)
		until := test.flap.Until(recent)
		if test.until == 0 != until.IsZero() || test.until != 0 && !until.Equal(now.Add(test.until)) {
			t.Errorf("%s: until %v, want in %v", what, until, test.until)
		}
	}
}

// TestAVoterRemembersMoves: of those for which it votes, what moves the primary by itself, and each once, also in its
// record.
func TestAVoterRemembersMoves(t *testing.T) {
	m, at := NewMachine(chartered("eu")), time.Unix(10_000, 0).UTC()
	for epoch := Epoch(3); epoch < 3+MaxMoves+5; epoch++ {
		s := m.State()
		c := &Candidacy{Epoch: epoch, For: "ap", Cursor: s.Cursor, Reigns: s.Reigns, Charter: s.Ballot.Charter}
		if epoch != 4 { // somebody ordered that one
			c.At = at
		}
		p, err := EncodeControl(&Control{Op: OpVote, Vote: c})
		if err != nil || p[0] != FormatVersion {
			t.Fatalf("version %d, %v", p[0], err)
		}
		decoded, _ := DecodeControl(p)
		for range 2 {
			if _, _, err := m.Control(decoded); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := m.State()
	p, err := s.EncodeRecord()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRecord(p, s.Cursor)
	if err != nil || len(got.Ballot.Moves) != MaxMoves || got.Ballot.Moves[MaxMoves-1] != (Move{2 + MaxMoves + 5, at}) {
		t.Errorf("%+v, %v", got.Ballot.Moves, err)
	}
}

// TestAPolicyIsNotForOlderNodes, which would drop it: a control and a state with one have a version that they refuse.
func TestAPolicyIsNotForOlderNodes(t *testing.T) {
	for what, change := range map[string]func(c *Charter){
		"":                 func(*Charter) {},
		"a bound of moves": func(c *Charter) { c.Flap = &Flap{} },
		"a failback":       func(c *Charter) { c.Failback = time.Minute },
		"a return":         func(c *Charter) { c.Returns = []Move{{2, time.Unix(1, 0)}} },
		"a former lease":   func(c *Charter) { c.Former = time.Minute },
	} {
		s := chartered("eu")
		change(&s.Ballot.Charter)
		c := s.Ballot.Charter
		record, err := s.EncodeRecord()
		if err != nil {
			t.Fatal(err)
		}
		candidacy := &Candidacy{Charter: c}
		for _, control := range []*Control{{Op: OpCharter, Charter: &c}, {Op: OpVote, Vote: candidacy}} {
			p, err := EncodeControl(control)
			if err != nil {
				t.Fatal(err)
			}
			back, err := DecodeControl(p)
			a, _ := json.Marshal(control)
			if b, _ := json.Marshal(back); err != nil || string(a) != string(b) {
				t.Errorf("%q: %s became %s, %v", what, a, b, err)
			}
			if (p[0] == policyVersion) != (what != "") || (record[0] == policyVersion) != (what != "") {
				t.Errorf("%q: a control of version %d, a state of %d", what, p[0], record[0])
			}
		}
	}
	if _, err := KindOf([]byte{policyVersion, byte(KindFrame)}); !errors.Is(err, ErrVersion) {
		t.Errorf("a frame of that version: %v", err)
	}
}

// TestALossWithoutABoundIsSaidInWords, and not as the number that stands for it.
func TestALossWithoutABoundIsSaidInWords(t *testing.T) {
	s := chartered("eu")
	s.Ballot.Known.Ceiling = Position(NoBound)
	c := &Candidacy{Epoch: 3, For: "ap", Cursor: s.Cursor, Reigns: s.Reigns, Charter: s.Ballot.Charter}
	const want = "any number of acknowledged commands of epoch 2 would be lost, 20 may be"
	if o := Against(s, c); o == nil || o.Reason != ReasonLoss || o.Text != want {
		t.Errorf("%+v", o)
	}
	if m := (Mandate{}).Counted(c, &s.Ballot.Known); AtMost(m.Lost) != "any number of" {
		t.Errorf("%+v", m)
	}
	c.For = Latest(s.Reigns).Primary // all that was acknowledged in its own epoch it has
	if m := (Mandate{}).Counted(c, &s.Ballot.Known); m != (Mandate{}) {
		t.Errorf("by its own primary: %+v", m)
	}
}
