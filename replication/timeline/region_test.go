package timeline

import (
	"errors"
	"reflect"
	"slices"
	"testing"
)

// full returns a machine whose state has something in every field that can be reached through a pointer or a slice.
func full(t *testing.T) *Machine {
	t.Helper()
	m := NewMachine(&State{Region: "us", Slots: []Slot{{Region: "eu", Position: 1}}})
	if _, why, err := m.Reign(Reign{Epoch: 1, First: 1, Primary: "us"}); why != "" || err != nil {
		t.Fatal(why, err)
	}
	m.Configure(Membership{Conf: []byte("conf"), Added: &Member{ID: 7, Name: "us-1", ClientURLs: []string{"a"}}})
	for _, c := range []*Control{
		{Op: OpSlots, Slots: []Slot{{Region: "eu", Position: 3}}},
		{Op: OpSeal, Epoch: 1, Handoff: 1, To: "eu"},
	} {
		if outcome, why, err := m.Control(c); outcome != Applied || err != nil {
			t.Fatal(c.Op, why, err)
		}
	}
	holds(t, m)
	return m
}

// TestNobodyElseChangesTheState: whatever a reader does to what it was given, and whoever made the first state to what
// he gave, the machine does not notice.
func TestNobodyElseChangesTheState(t *testing.T) {
	m := full(t)
	want := *m.state.Clone()
	given := m.State()
	given.Cursor.Position = 99
	given.Reigns[0].Epoch = 99
	given.Seal.To = "ap"
	given.Members[0].Name, given.Members[0].ClientURLs[0] = "other", "other"
	given.Slots[0].Position = 99
	given.Conf[0] = 'x'
	if !reflect.DeepEqual(*m.state, want) {
		t.Errorf("a reader made of it %+v", *m.state)
	}
	first := m.state.Clone()
	m = NewMachine(first)
	first.Members[0].Name, first.Reigns[0].Epoch, first.Seal.To = "other", 99, "ap"
	if !reflect.DeepEqual(*m.state, want) {
		t.Errorf("who made the first state made of it %+v", *m.state)
	}
}

func TestABaseOnlyMovesForward(t *testing.T) {
	m := full(t)
	for _, step := range []struct {
		index uint64
		ok    bool
	}{{0, false}, {5, true}, {5, false}, {4, false}, {9, true}} {
		before := m.State().Base
		err := m.Rebase(step.index)
		holds(t, m)
		after := m.State().Base
		switch {
		case step.ok && (err != nil || after != Base{Index: step.index, Position: m.Cursor().Position}):
			t.Errorf("rebased at %d: %+v, %v", step.index, after, err)
		case !step.ok && (!errors.Is(err, ErrFormat) || after != before):
			t.Errorf("rebased at %d after %d: %v", step.index, before.Index, err)
		}
	}
}

func TestMembersFollowTheConfiguration(t *testing.T) {
	m := NewMachine(&State{Region: "us"})
	for _, step := range []struct {
		change Membership
		want   []Member
	}{
		{Membership{Added: &Member{ID: 2}}, []Member{{ID: 2}}},
		{Membership{Added: &Member{ID: 1}, Learners: []uint64{1}}, []Member{{ID: 1, Learner: true}, {ID: 2}}},
		{Membership{}, []Member{{ID: 1}, {ID: 2}}},
		{Membership{Added: &Member{ID: 1, Name: "n"}, Learners: []uint64{2}},
			[]Member{{ID: 1, Name: "n"}, {ID: 2, Learner: true}}},
		{Membership{Removed: []uint64{1, 5}}, []Member{{ID: 2}}},
	} {
		m.Configure(step.change)
		holds(t, m)
		if got := m.State().Members; !reflect.DeepEqual(got, step.want) {
			t.Errorf("%+v: members %+v", step.change, got)
		}
	}
}

// Of those who left a region the nodes are remembered, and not the places that were held for some of them: as many as
// that are taken push out nobody who must not come back.
func TestPlacesAreNotRemembered(t *testing.T) {
	m := NewMachine(&State{Region: "us"})
	m.Configure(Membership{Added: &Member{ID: 1, Name: "us-1", PeerAddr: "a"}})
	m.Configure(Membership{Removed: []uint64{1}})
	for place := range uint64(2 * MaxRemoved) {
		place += 1000
		m.Configure(Membership{
			Added: &Member{ID: place, PeerAddr: "a", Learner: true}, Learners: []uint64{place},
		})
		m.Configure(Membership{Removed: []uint64{place}})
	}
	if got := m.State().Removed; !slices.Equal(got, []uint64{1}) {
		t.Errorf("%d remembered, %v", len(got), got[:min(len(got), 3)])
	}
	for _, node := range []Member{
		{ID: 2, PeerAddr: "a"}, {ID: 3, PeerAddr: "a", Learner: true, Starts: 1}, {ID: 4, Name: "us-4", Learner: true},
	} {
		change := Membership{Added: &node}
		if node.Learner {
			change.Learners = []uint64{node.ID}
		}
		m.Configure(change)
		m.Configure(Membership{Removed: []uint64{node.ID}})
	}
	if got := m.State().Removed; !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Errorf("of nodes are remembered %v", got)
	}
	holds(t, m)
}
