package timeline

import (
	"testing"
	"time"
)

func chartered(region string) *State {
	us, eu := Reign{Epoch: 1, First: 1, Primary: "us"}, Reign{Epoch: 2, First: 101, Primary: "eu"}
	return &State{
		Region: region, Cursor: Cursor{Epoch: 2, Position: 150}, Reigns: []Reign{us, eu},
		Ballot: &Ballot{
			Promised: 2, For: "eu",
			Known: Known{Reigns: []Reign{us, eu}, Ceiling: 160},
			Charter: Charter{
				Epoch: 1, Number: 1, Lease: 3 * time.Second, MaxLoss: 20, Automatic: true, Voters: []Voter{
					{ID: "ap", Priority: 1}, {ID: "eu", Priority: 1}, {ID: "us", Priority: 0}, {ID: "witness/w"},
				},
			},
		},
	}
}

// TestWhoIsVotedFor goes through the rules, each with a candidate that differs in one thing.
func TestWhoIsVotedFor(t *testing.T) {
	for what, test := range map[string]struct {
		change func(s *State, c *Candidacy)
		want   Reason // "": the vote is given
	}{
		"nothing speaks against it": {func(*State, *Candidacy) {}, ""},
		"the epoch is voted for":    {func(_ *State, c *Candidacy) { c.Epoch = 2 }, ReasonEpoch},
		"the same vote again": {func(s *State, c *Candidacy) {
			s.Ballot.Promised, s.Ballot.For, c.Cursor.Position = 3, "ap", 0
		}, ""},
		"an older charter": {func(s *State, _ *Candidacy) { s.Ballot.Charter.Number = 2 }, ReasonCharter},
		"a newer charter":  {func(_ *State, c *Candidacy) { c.Charter.Epoch = 2 }, ""},
		"the voter lost its ballot": {func(s *State, _ *Candidacy) {
			s.Ballot.Identity = Nonce{1}
		}, ReasonCharter},
		"nobody votes":               {func(s *State, _ *Candidacy) { s.Ballot = nil }, ReasonCharter},
		"a witness":                  {func(_ *State, c *Candidacy) { c.For = "witness/w" }, ReasonEligible},
		"never primary":              {func(_ *State, c *Candidacy) { c.For = "us" }, ReasonEligible},
		"never primary, and ordered": {func(_ *State, c *Candidacy) { c.For, c.Operator = "us", true }, ""},
		"paused": {func(_ *State, c *Candidacy) {
			c.Charter.Epoch, c.Charter.Paused = 2, "an upgrade"
		}, ReasonPaused},
		"paused, and ordered": {func(_ *State, c *Candidacy) {
			c.Charter.Epoch, c.Charter.Paused, c.Operator = 2, "an upgrade", true
		}, ""},
		"less than the voter holds": {func(_ *State, c *Candidacy) { c.Cursor.Position = 149 }, ReasonHistory},
		"an older reign, further": {func(_ *State, c *Candidacy) {
			c.Reigns, c.Cursor = c.Reigns[:1], Cursor{Epoch: 1, Position: 500}
		}, ReasonHistory},
		"a reign of which the voter holds nothing": {func(s *State, c *Candidacy) {
			s.Cursor.Position, s.Ballot.Known.Ceiling = 100, 100
			c.Reigns, c.Cursor = c.Reigns[:1], Cursor{Epoch: 1, Position: 100}
		}, ""},
		"more may be lost than the budget": {func(s *State, c *Candidacy) {
			s.Ballot.Known.Ceiling = 171
		}, ReasonLoss},
		"more, and accepted": {func(s *State, c *Candidacy) {
			s.Ballot.Known.Ceiling, c.Operator, c.Accept = 171, true, 21
		}, ""},
		// A reign that nothing was written in does not make good what the one before acknowledged.
		"what was lost before an unused reign": {func(s *State, c *Candidacy) {
			s.Cursor.Position, s.Ballot.Known.Ceiling = 70, 100
			s.Reigns, s.Cursor.Epoch = s.Reigns[:1], 1
			c.Reigns, c.Cursor = c.Reigns[:1], Cursor{Epoch: 1, Position: 79}
		}, ReasonLoss},
		"a later reign, whose voters counted the loss": {func(s *State, c *Candidacy) {
			c.Reigns = append(c.Reigns, Reign{Epoch: 3, First: 120, Primary: "ap"})
			c.Epoch, c.Cursor = 4, Cursor{Epoch: 3, Position: 119}
		}, ""},
		"a handoff": {func(s *State, c *Candidacy) { s.Ballot.Known.Ceiling, c.Handoff = 999, 1 }, ""},
	} {
		s := chartered("eu")
		c := &Candidacy{Epoch: 3, For: "ap", Cursor: s.Cursor, Reigns: s.Reigns, Charter: s.Ballot.Charter}
		test.change(s, c)
		got := Reason("")
		if o := Against(s, c); o != nil {
			got = o.Reason
		}
		if got != test.want {
			t.Errorf("%s: refused for %q, want %q", what, got, test.want)
		}
		outcome, why := Would(s, &Control{Op: OpVote, Vote: c})
		if (outcome == Refused) != (test.want != "") {
			t.Errorf("%s: in the log %v, %s", what, outcome, why)
		}
	}
}

// TestAVoteBinds: a region begins no epoch that it did not vote for itself in, and takes nothing of its own reign once
// it voted for another.
func TestAVoteBinds(t *testing.T) {
	s := chartered("eu")
	if outcome, why := WouldBegin(s, Reign{Epoch: 3, Primary: "eu"}); outcome != Refused {
		t.Errorf("an epoch without a vote: %v, %s", outcome, why)
	}
	m := NewMachine(s)
	vote := func(region string, epoch Epoch) {
		t.Helper()
		s := m.State()
		c := &Candidacy{Epoch: epoch, For: region, Cursor: s.Cursor, Reigns: s.Reigns, Charter: s.Ballot.Charter}
		if outcome, why, err := m.Control(&Control{Op: OpVote, Vote: c}); outcome != Applied || err != nil {
			t.Fatalf("vote: %v, %s, %v", outcome, why, err)
		}
	}
	vote("eu", 3)
	if s := m.State(); !s.Writable() {
		t.Error("a vote for itself ends the right to write")
	}
	vote("ap", 4)
	frame := &Frame{Epoch: 2, First: 151, Commands: []Command{{Data: []byte("x")}}}
	if s := m.State(); s.Writable() {
		t.Error("writable after a vote for another")
	}
	if outcome, _, err := m.Frame(frame); outcome != Refused || err != nil {
		t.Errorf("a frame after a vote for another: %v, %v", outcome, err)
	}
	if outcome, _, _ := m.Control(&Control{Op: OpCeiling, Epoch: 2, To: "eu", Known: &Known{Reigns: s.Reigns,
		Ceiling: 900}}); outcome != Refused {
		t.Error("a deposed primary raised its ceiling")
	}
}

// TestASealIsAVote that only the target's refusal takes back.
func TestASealIsAVote(t *testing.T) {
	m := NewMachine(chartered("eu"))
	if outcome, why, _ := m.Control(&Control{Op: OpSeal, Epoch: 2, To: "ap", Handoff: 1}); outcome != Applied {
		t.Fatal(why)
	}
	if b := m.State().Ballot; b.Promised != 3 || b.For != "ap" || b.Handoff != 1 {
		t.Errorf("sealed: %+v", b)
	}
	if _, _, err := m.Control(&Control{Op: OpUnseal, Epoch: 2, Handoff: 1}); err != nil {
		t.Fatal(err)
	}
	if s := m.State(); s.Ballot.Promised != 2 || s.Ballot.For != "eu" || !s.Writable() {
		t.Errorf("unsealed: %+v", s.Ballot)
	}
}
