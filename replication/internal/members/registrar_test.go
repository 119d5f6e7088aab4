package members

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// group is a region of voters 1 and 2 and learner 3, led here.
type group struct {
	mu      sync.Mutex // of changed, all, place
	applied uint64
	joining bool // has no members yet
	changed *raftpb.ConfChangeV2
	all     []*raftpb.ConfChangeV2
	place   uint64   // another learner
	silent  bool     // the other voter
	voters  []uint64 // nil: 1 and 2
	hands   func(to uint64) error
	err     error
	changes uint64
	first   func() // what comes before a change, once
}

func (g *group) Status() raftgroup.Status {
	if g.joining {
		return raftgroup.Status{ID: 1, Leader: 2, Conf: &raftpb.ConfState{}}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	learners := []uint64{3}
	if g.place != 0 {
		learners = append(learners, g.place)
	}
	voters := []uint64{1, 2}
	if g.voters != nil {
		voters = g.voters
	}
	heard := time.Now().Add(time.Hour)
	if g.silent {
		heard = time.Time{}
	}
	return raftgroup.Status{
		ID: 1, Leader: 1, IsLeader: true, Term: 2, Commit: 10_000, Applied: g.applied,
		Conf: &raftpb.ConfState{Voters: voters, Learners: learners},
		Progress: map[uint64]raftgroup.Progress{
			1: {Match: 10_000, Active: true},
			2: {Match: 10_000, Heard: heard},
			3: {Match: 100, Active: true, Heard: time.Now().Add(time.Hour)},
			4: {Match: 10_000, Heard: heard},
		},
		Changes: g.changes,
	}
}

func (g *group) Glimpse() raftgroup.Status { return g.Status() }

func (g *group) ChangeMembers(_ context.Context, on raftgroup.Basis, c *raftpb.ConfChangeV2) error {
	if first := g.first; first != nil {
		g.first = nil
		first()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if on.Changes != g.changes || on.Term != 2 {
		return raftgroup.ErrOvertaken
	}
	if g.err == nil {
		g.changes++
	}
	g.changed, g.all = c, append(g.all, c)
	if one := c.GetChanges()[0]; one.GetType() == raftpb.ConfChangeType_ConfChangeAddLearnerNode && g.place == 0 {
		g.place = one.GetNodeId()
	}
	if one := c.GetChanges()[0]; g.voters != nil && one.GetType() == raftpb.ConfChangeType_ConfChangeRemoveNode {
		g.voters = slices.DeleteFunc(slices.Clone(g.voters), func(v uint64) bool { return v == one.GetNodeId() })
	}
	if one := c.GetChanges()[0]; one.GetType() == raftpb.ConfChangeType_ConfChangeRemoveNode &&
		one.GetNodeId() == g.place {
		g.place = 0
	}
	return g.err
}

func (g *group) TransferLeader(_ context.Context, to uint64) error {
	if g.hands != nil {
		return g.hands(to)
	}
	return g.err
}

// controls keeps what was proposed.
type controls struct{ proposed []*timeline.Control }

func (c *controls) Control(_ context.Context, p *timeline.Control) (region.Outcome, error) {
	c.proposed = append(c.proposed, p)
	return region.Outcome{}, nil
}

// never ends.
type never struct{}

func (never) Stopped() <-chan struct{} { return nil }
func (never) Failure() error           { return nil }

func testRegistrar(g *group, c *controls) *Registrar {
	applied := region.NewApplied(&region.View{State: timeline.State{Region: "us",
		Members: []timeline.Member{{ID: 1, Name: "us-1", PeerAddr: "us-1"}}}}, never{})
	leadership := &region.Leadership{}
	leadership.Set(2)
	directory := NewDirectory("us", 1, map[string]string{"us-1": "us-1"}, applied, func() uint64 { return 1 })
	return NewRegistrar(Config{
		Region: "us", Self: timeline.Member{ID: 1, Name: "us-1", PeerAddr: "us-1"}, Timeout: 1, Clock: clock.Real,
		Applied: applied, Leadership: leadership, Directory: directory, Group: g, Controls: c,
		Logger: slog.New(slog.DiscardHandler), OnRemoved: func(error) {}, OnMet: func(Presence) {},
	})
}

func TestChangesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct {
		why    string
		change change
		want   error
		kind   raftpb.ConfChangeType
	}{
		{"a member again", change{Do: "add", ID: 2, Name: "us-2", PeerAddr: "us-2"}, contract.ErrMember, 0},
		{"a learner again", change{Do: "add", ID: 3, Name: "us-3", PeerAddr: "us-3"}, contract.ErrMember, 0},
		{"no address", change{Do: "add", ID: 4, Name: "us-4"}, contract.ErrMember, 0},
		{"a voter", change{Do: "add", ID: 4, Name: "us-4", PeerAddr: "us-4"}, nil,
			raftpb.ConfChangeType_ConfChangeAddNode},
		{"a learner", change{Do: "add", ID: 4, Name: "us-4", PeerAddr: "us-4", Learner: true}, nil,
			raftpb.ConfChangeType_ConfChangeAddLearnerNode},
		{"a voter promoted", change{Do: "promote", ID: 2}, contract.ErrMember, 0},
		{"a learner behind", change{Do: "promote", ID: 3}, contract.ErrLearnerBehind, 0},
		{"a stranger", change{Do: "remove", ID: 4}, contract.ErrMember, 0},
		{"a voter removed", change{Do: "remove", ID: 2}, nil, raftpb.ConfChangeType_ConfChangeRemoveNode},
		{"something else", change{Do: "praise", ID: 2}, contract.ErrRejected, 0},
	} {
		g := &group{}
		err := testRegistrar(g, &controls{}).apply(t.Context(), c.change)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
		if (g.changed != nil) != (c.want == nil) || g.changed != nil && g.changed.GetChanges()[0].GetType() != c.kind {
			t.Errorf("%s: brought to Raft: %v", c.why, g.changed)
		}
	}
}

func TestANodeThatWasRemovedIsRefused(t *testing.T) {
	c := &controls{}
	r := testRegistrar(&group{}, c)
	if err := r.publish(t.Context(), publication{timeline.Member{ID: 4, Name: "us-4"}}); !errors.Is(err,
		contract.ErrMember) || len(c.proposed) != 0 {
		t.Fatalf("published with %v: %v", err, c.proposed)
	}
	if err := r.publish(t.Context(), publication{timeline.Member{ID: 3, Name: "us-3"}}); err != nil ||
		len(c.proposed) != 1 {
		t.Fatalf("published with %v: %v", err, c.proposed)
	}
}

func TestANodeDescribesItselfOnlyIfItsRegionHasItOtherwise(t *testing.T) {
	c := &controls{}
	r := testRegistrar(&group{}, c)
	r.describe(t.Context())
	if len(c.proposed) != 0 {
		t.Fatalf("described as %+v, and nothing has changed", c.proposed[0].Member)
	}
	r.config.Self.ClientURLs = []string{"http://us-1"}
	r.describe(t.Context())
	if len(c.proposed) != 1 || c.proposed[0].Member.ClientURLs[0] != "http://us-1" {
		t.Fatalf("proposed %v", c.proposed)
	}
}

func TestWithoutLeadershipOfTheGroupACallIsNotLeader(t *testing.T) {
	r := testRegistrar(&group{err: raftgroup.ErrNotLeader}, &controls{})
	if err := r.Transfer(t.Context(), 2); !errors.Is(err, contract.ErrNotLeader) {
		t.Errorf("transfer: %v", err)
	}
	if err := r.Remove(t.Context(), 2); !errors.Is(err, contract.ErrNotLeader) {
		t.Errorf("remove: %v", err)
	}
}

// What became of a change is of a kind that callers know.
func TestAnErrorOfAChangeIsOfAKind(t *testing.T) {
	for err, want := range map[error]error{
		raftgroup.ErrBusy: contract.ErrNotReady, raftgroup.ErrMembership: contract.ErrMember,
		raftgroup.ErrUnknownOutcome: contract.ErrUnknownOutcome, raftgroup.ErrStopped: contract.ErrUnknownOutcome,
		context.DeadlineExceeded: contract.ErrUnknownOutcome,
	} {
		r := testRegistrar(&group{err: err}, &controls{})
		if err := r.Remove(t.Context(), 2); peer.Kind(err) != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
