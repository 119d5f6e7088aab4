package timeline

import (
	"slices"
	"testing"
)

// told applies controls and reigns one by one, and returns what they decided.
func told(t *testing.T, m *Machine, entries ...any) (list []Event) {
	t.Helper()
	for _, e := range entries {
		before := m.State()
		var outcome Outcome
		var why string
		var err error
		switch e := e.(type) {
		case Reign:
			e.First, e.Previous = m.Cursor().Position+1, m.Cursor().Chain
			outcome, why, err = m.Reign(e)
		case *Control:
			outcome, why, err = m.Control(e)
		}
		if err != nil || outcome != Applied {
			t.Fatalf("%+v: %v, %s, %v", e, outcome, why, err)
		}
		after := m.State()
		list = append(list, Between(&before, &after)...)
	}
	return list
}

func kindsOf(list []Event) (kinds []EventKind) {
	for _, e := range list {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestEachDecisionIsTold(t *testing.T) {
	m := NewMachine(&State{Region: "us"})
	list := told(t, m,
		Reign{Epoch: 1, Primary: "us"},
		&Control{Op: OpSeal, Epoch: 1, Handoff: 1, To: "eu"},
		&Control{Op: OpUnseal, Epoch: 1, Handoff: 1},
		&Control{Op: OpSlots, Slots: []Slot{{Region: "eu", Lost: true}}},
		&Control{Op: OpSlots, Slots: []Slot{{Region: "eu", Lost: true}}}, // nothing new
		&Control{Op: OpSlots, Slots: []Slot{{Region: "eu"}}},
		&Control{Op: OpRefuse, Epoch: 1, Handoff: 7},
		&Control{Op: OpSeal, Epoch: 1, Handoff: 2, To: "eu"}, // ends with what follows, and is not taken back
		&Control{Op: OpYield, Claim: &Reign{Epoch: 2, Primary: "eu", Lossy: true}},
		&Control{Op: OpDiverge, Epoch: 1, Claim: &Reign{Epoch: 2, Primary: "eu", Lossy: true}},
	)
	want := []EventKind{EventEpoch, EventSealed, EventUnsealed, EventSlotLost, EventSlotBack, EventRefused,
		EventSealed, EventYielded, EventDiverged}
	if got := kindsOf(list); !slices.Equal(got, want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	seen := map[string]bool{}
	for _, e := range list {
		if e.ID == "" || seen[e.ID] {
			t.Errorf("%s has the identity %q", e.Kind, e.ID)
		}
		seen[e.ID] = true
	}
	if e := list[1]; e.Region != "us" || e.Other != "eu" || e.Handoff != 1 {
		t.Errorf("sealed: %+v", e)
	}
}

// TestAnEpochIsTheSameInEveryRegion whichever way a region comes to it.
func TestAnEpochIsTheSameInEveryRegion(t *testing.T) {
	us, eu := NewMachine(&State{Region: "us"}), NewMachine(&State{Region: "eu"})
	first, second := Reign{Epoch: 1, Primary: "us", Nonce: Nonce{1}}, Reign{Epoch: 2, Primary: "eu", Handoff: 3}
	a, b := told(t, us, first, second), told(t, eu, first, second)
	if len(a) != 2 || !slices.EqualFunc(a, b, func(x, y Event) bool { return x == y }) {
		t.Fatalf("us tells %+v, eu %+v", a, b)
	}
	if e := a[1]; e.Region != "eu" || e.Other != "us" || e.Handoff != 3 {
		t.Fatalf("%+v", e)
	}
	state := us.State()
	learned := Learned(&State{Region: "us"}, &state)
	for i := range learned {
		if !learned[i].Learned || learned[i].ID != a[i].ID {
			t.Errorf("learned %+v, told %+v", learned[i], a[i])
		}
	}
}

func TestATailIsCounted(t *testing.T) {
	before := State{Region: "us", Reigns: []Reign{{Epoch: 1, First: 1, Primary: "us"}},
		Cursor: Cursor{Epoch: 1, Position: 10}}
	after := *before.Clone()
	after.Diverged = &Divergence{Fork: 7, At: 10, Claim: Reign{Epoch: 2, Primary: "eu"}}
	after.Yielded = after.Diverged.Claim
	list := Between(&before, &after)
	if len(list) != 1 || list[0].Kind != EventDiverged || list[0].Tail != 3 || list[0].Position != 7 {
		t.Fatalf("%+v", list)
	}
	back := *after.Clone()
	back.Diverged, back.Base = nil, Base{Index: 9, Position: 7}
	list = Between(&after, &back)
	if len(list) != 1 || list[0].Kind != EventInstalled || !list[0].Back || list[0].Tail != 3 {
		t.Fatalf("%+v", list)
	}
}

func TestAVoteIsTold(t *testing.T) {
	before := State{Region: "us", Ballot: &Ballot{Promised: 1, For: "us", Charter: Charter{Epoch: 1, Number: 1}}}
	after := *before.Clone()
	after.Ballot = &Ballot{Promised: 2, For: "eu", Charter: Charter{Epoch: 1, Number: 2, Paused: "work"},
		Moves: []Move{{Epoch: 2}}}
	list := Between(&before, &after)
	if got := kindsOf(list); !slices.Equal(got, []EventKind{EventCharter, EventVote}) {
		t.Fatalf("told %q", got)
	}
	if list[0].Charter.Paused != "work" || !list[1].ByItself || list[1].Other != "eu" {
		t.Fatalf("%+v", list)
	}
}
