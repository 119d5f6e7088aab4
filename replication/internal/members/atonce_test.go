package members

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// M8: of two changes at once the second is decided on what the first has made. Four voters, of which 5 is dead: either
// of 2 and 4 may go, and not both.
func TestTheSecondOfTwoChangesIsDecidedOnTheFirst(t *testing.T) {
	four := []uint64{1, 2, 4, 5}
	learner := timeline.Member{ID: 3, Name: "us-3", PeerAddr: "us-3"}
	for why, c := range map[string]struct {
		voters        []uint64
		first, second change
		want          error
	}{
		"two that live":     {four, change{Do: "remove", ID: 4}, change{Do: "remove", ID: 2}, contract.ErrUnhealthy},
		"the same":          {four, change{Do: "remove", ID: 2}, change{Do: "remove", ID: 2}, contract.ErrMember},
		"one lives":         {four, change{Do: "remove", ID: 5}, change{Do: "remove", ID: 2}, nil},
		"a learner and one": {four, change{Do: "remove", ID: 3}, change{Do: "remove", ID: 2}, nil},
		"the last two": {[]uint64{2, 4}, change{Do: "remove", ID: 4}, change{Do: "remove", ID: 2},
			contract.ErrMember},
		"one place twice": {nil, change{Do: "expect", PeerAddr: "a:1"},
			change{Do: "expect", PeerAddr: "a:1"}, contract.ErrMember},
	} {
		g := &group{voters: c.voters}
		r := testRegistrar(g, &controls{})
		s := r.config.Applied.State()
		s.Members = append(s.Members, learner)
		g.first = func() {
			if err := r.apply(t.Context(), c.first); err != nil {
				t.Errorf("%s: the first: %v", why, err)
			}
		}
		if err := r.apply(t.Context(), c.second); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", why, err, c.want)
		}
	}
}

// Who takes a place does not take it once it is given up.
func TestAPlaceThatIsGivenUpIsNotTaken(t *testing.T) {
	g := &group{}
	r := held(t, g, true, "us-4")
	place := g.place
	g.first = func() {
		if err := r.apply(t.Context(), change{Do: "remove", ID: place}); err != nil {
			t.Error(err)
		}
	}
	came := change{Do: "take", ID: RaftID("us", "us-4"), Name: "us-4", PeerAddr: "us-4:1"}
	if err := r.apply(t.Context(), came); !errors.Is(err, contract.ErrMember) || len(g.all) != 1 {
		t.Errorf("%v, %v", err, g.all)
	}
}

// A word about a member that comes behind its removal does not bring it back: it is taken off the list again, and
// nobody is added under its name before.
func TestWhoWasRemovedIsTakenOffTheList(t *testing.T) {
	g := &group{}
	r := testRegistrar(g, &controls{})
	if r.expel(t.Context()); g.changed != nil {
		t.Fatalf("who is a member: %v", g.changed)
	}
	s := r.config.Applied.State()
	s.Members = append(s.Members, timeline.Member{ID: 7, Name: "us-7", PeerAddr: "us-7"})
	again := change{Do: "add", ID: 7, Name: "us-7", PeerAddr: "us-7"}
	if err := r.apply(t.Context(), again); !errors.Is(err, contract.ErrNotReady) || g.changed != nil {
		t.Errorf("added again: %v, %v", err, g.changed)
	}
	r.expel(t.Context())
	if len(g.all) != 1 || g.all[0].GetChanges()[0].GetNodeId() != 7 ||
		g.all[0].GetChanges()[0].GetType() != raftpb.ConfChangeType_ConfChangeRemoveNode {
		t.Errorf("%v", g.all)
	}
	r.config.Leadership.Set(0)
	if r.expel(t.Context()); len(g.all) != 1 {
		t.Errorf("who does not lead: %v", g.all)
	}
}

// With the state's own rules: a removal of who is no member any more makes the region forget and remember it.
func TestARemovalUndoesALateWord(t *testing.T) {
	m := timeline.NewMachine(&timeline.State{Region: "us"})
	m.Configure(timeline.Membership{Added: &timeline.Member{ID: 7, Name: "us-7"}})
	m.Configure(timeline.Membership{Removed: []uint64{7}})
	late := &timeline.Control{Op: timeline.OpMember, Member: &timeline.Member{ID: 7, Name: "us-7"}}
	if _, _, err := m.Control(late); err != nil {
		t.Fatal(err)
	}
	m.Configure(timeline.Membership{Removed: []uint64{7}})
	if s := m.State(); len(s.Members) != 0 || !slices.Equal(s.Removed, []uint64{7}) {
		t.Errorf("%+v, removed %d", s.Members, s.Removed)
	}
}
