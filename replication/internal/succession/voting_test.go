package succession

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// chartered is a region of a fleet that votes, in the first epoch, of us.
func chartered(region string) *timeline.State {
	return &timeline.State{
		Region: region, Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
		Cursor: timeline.Cursor{Epoch: 1, Position: 7},
		Ballot: &timeline.Ballot{Promised: 1, For: "us", Charter: timeline.Charter{
			Epoch: 1, Number: 1, Lease: time.Second, Voters: []timeline.Voter{
				{ID: "eu", Identity: timeline.Nonce{2}, Priority: 1},
				{ID: "us", Identity: timeline.Nonce{1}, Priority: 1}, {ID: "witness/w"},
			},
		}},
	}
}

// answered returns the reply to a call that is among effects, nil if none is.
func answered(effects []Effect) *Reply {
	for _, e := range effects {
		if e.Do == Answer {
			return &e.Reply
		}
	}
	return nil
}

// TestNobodyWithoutAVoteIsHandedThePrimary: it would begin an epoch that nobody voted for, and the others would go on
// without it.
func TestNobodyWithoutAVoteIsHandedThePrimary(t *testing.T) {
	for why, c := range map[string]struct {
		to      string
		ballot  *timeline.Nonce
		charter timeline.Mark
	}{
		"eu lost its ballot":     {"eu", &timeline.Nonce{}, timeline.Mark{}},
		"eu has not got charter": {"eu", &timeline.Nonce{2}, timeline.Mark{}}, // it was added a moment ago
		"ap has no vote":         {"ap", nil, timeline.Mark{}},
		"":                       {"eu", &timeline.Nonce{2}, chartered("us").Charter().Mark()}, // it has one
	} {
		s := chartered("us")
		sight := Sight{Role: timeline.Secondary, Cursor: s.Cursor, Reigns: s.Reigns, Ballot: c.ballot,
			Charter: c.charter}
		v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0], Leaders: map[string]Sight{c.to: sight}}}
		m := New("us", true, testLimits)
		now := time.Minute
		effects := m.Step(now, v, Switchover{Call: 1, To: c.to})
		if r := answered(effects); r != nil {
			t.Errorf("%s, by what may be old: %+v", why, r)
		}
		if why != "" {
			effects = m.Step(now+testLimits.Ask, v, nil)
		}
		r := answered(effects)
		switch {
		case why == "":
			if r != nil || len(effects) != 1 || effects[0].Control.Op != timeline.OpSeal {
				t.Errorf("to a voter: %+v", effects)
			}
		case r == nil || !errors.Is(r.Err, contract.ErrHandoff) || !strings.Contains(r.Err.Error(), why):
			t.Errorf("%s: %+v", why, r)
		}
	}
}

// TestWhoHasNoCharterTakesNoHandoffOfAFleetThatVotes, should the primary not know.
func TestWhoHasNoCharterTakesNoHandoffOfAFleetThatVotes(t *testing.T) {
	for _, votes := range []bool{false, true} {
		s := chartered("eu")
		h := Handover{From: "us", To: "eu", Epoch: 1, Handoff: 1, End: s.Cursor}
		if votes {
			h.Charter = s.Charter().Mark()
		}
		s.Ballot = nil
		m := New("eu", false, testLimits)
		v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0]}}
		effects := m.Step(0, v, BeginAsked{Call: 1, Handover: h})
		r := answered(effects)
		if refused := r != nil && errors.Is(r.Err, contract.ErrHandoff); refused != votes {
			t.Errorf("the fleet votes %t: %+v", votes, effects)
		}
	}
}

// TestAPrimaryThatBeginsAnew says that writes may be lost, if a voter knows of a later epoch that took some, or if
// nobody is asked who could know.
func TestAPrimaryThatBeginsAnew(t *testing.T) {
	for _, c := range []struct{ operator, used, lossy bool }{
		{false, false, false}, {false, true, true}, {true, false, true},
	} {
		s := chartered("us")
		v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0]}}
		m := New("us", true, testLimits)
		elects := m.Step(0, v, Takeover{Call: 1, Epoch: 3, Operator: c.operator, Anew: true})
		if len(elects) != 1 || elects[0].Do != Elect || elects[0].Reign.Epoch != 3 {
			t.Fatalf("%+v: %+v", c, elects)
		}
		voted, ballot := s.Clone(), *s.Ballot
		ballot.Promised, ballot.For = 3, "us"
		voted.Ballot, v.State = &ballot, voted
		begins := m.Step(0, v, Elected{ID: elects[0].ID, Mandate: timeline.Mandate{Used: c.used}})
		if len(begins) != 1 || begins[0].Do != Begin || begins[0].Reign.Lossy != c.lossy {
			t.Errorf("%+v: %+v", c, begins)
		}
	}
	m, s := New("us", true, testLimits), chartered("us")
	v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0]}}
	if r := answered(m.Step(0, v, Takeover{Call: 1, Operator: true})); r == nil ||
		!errors.Is(r.Err, contract.ErrAlreadyPrimary) {
		t.Errorf("a failover to the primary: %+v", r)
	}
}
