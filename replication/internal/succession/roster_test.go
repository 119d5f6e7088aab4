package succession

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestNothingMovesWhileTheRegionsChange: the roster that is about to be written would cost the pause of a switchover,
// which waits until the target has it. And who would change the regions is told of a move from its first step on.
func TestNothingMovesWhileTheRegionsChange(t *testing.T) {
	s := chartered("us")
	sight := Sight{Role: timeline.Secondary, Cursor: s.Cursor, Reigns: s.Reigns}
	v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0], Leaders: map[string]Sight{"eu": sight}},
		Changing: "region ap is being added"}
	m := New("us", true, testLimits)
	effects := m.Step(time.Minute, v, Switchover{Call: 1, To: "eu"})
	r := answered(effects)
	if r == nil || !errors.Is(r.Err, contract.ErrHandoff) || !strings.Contains(r.Err.Error(), v.Changing) {
		t.Errorf("while the regions change: %+v", effects)
	}
	if to, text := Moving(m, time.Minute); to != "" {
		t.Errorf("it moves: %s", text)
	}
	v.Changing = ""
	effects = m.Step(time.Minute, v, Switchover{Call: 2, To: "eu"})
	if len(effects) != 1 || effects[0].Control == nil || effects[0].Control.Op != timeline.OpSeal {
		t.Fatalf("when they have: %+v", effects)
	}
	if to, text := Moving(m, time.Minute); to != "eu" || !strings.Contains(text, "seals for a switchover to eu") {
		t.Errorf("it moves to %q: %s", to, text)
	}
}

// TestNothingIsSealedBesideACharter that is on its way to the log: it would come behind the seal, which is a vote for
// who does not have it. Who would write one is told of a seal from its first step on.
func TestNothingIsSealedBesideACharter(t *testing.T) {
	s := chartered("us")
	sight := Sight{Role: timeline.Secondary, Cursor: s.Cursor, Reigns: s.Reigns}
	v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0], Leaders: map[string]Sight{"eu": sight}},
		Charting: true}
	m := New("us", true, testLimits)
	seals := func(e Effect) bool { return e.Control != nil && e.Control.Op == timeline.OpSeal }
	effects := m.Step(time.Minute, v, Switchover{Call: 1, To: "eu"})
	if slices.ContainsFunc(effects, seals) || Sealing(m) {
		t.Errorf("beside a charter: %+v; it seals: %t", effects, Sealing(m))
	}
	if to, text := Moving(m, time.Minute); to != "eu" || !strings.Contains(text, "a charter is on its way to the log") {
		t.Errorf("it moves to %q: %s", to, text)
	}
	v.Charting = false
	effects = m.Step(time.Minute+testLimits.Again, v, nil)
	if !slices.ContainsFunc(effects, seals) || !Sealing(m) {
		t.Errorf("behind it: %+v; it seals: %t", effects, Sealing(m))
	}
}

// TestATargetSaysWhatItLacks to begin: what it streams, or the roster of the primary.
func TestATargetSaysWhatItLacks(t *testing.T) {
	for says, c := range map[string]struct {
		end    timeline.Position
		roster timeline.RosterMark
	}{
		"did not reach position 9":           {9, timeline.RosterMark{}},
		"has not got roster 7 of epoch 1 of": {0, timeline.RosterMark{Epoch: 1, Number: 7, By: "us", Ranked: true}},
	} {
		s := chartered("eu")
		h := Handover{From: "us", To: "eu", Epoch: 1, Handoff: 1, End: s.Cursor, Roster: c.roster}
		h.End.Position = max(h.End.Position, c.end)
		m := New("eu", false, testLimits)
		v := View{Term: 1, State: s, Fleet: Fleet{Claim: s.Reigns[0]}}
		if r := answered(m.Step(0, v, BeginAsked{Call: 1, Handover: h})); r != nil {
			t.Fatalf("%s: %+v", says, r)
		}
		r := answered(m.Step(0, v, GaveUp{Call: 1, Why: errors.New("it waits no longer")}))
		if r == nil || !errors.Is(r.Err, contract.ErrHandoff) || !strings.Contains(r.Err.Error(), says) {
			t.Errorf("%s: %+v", says, r)
		}
	}
}
