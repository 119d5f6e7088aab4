package members

import (
	"encoding/json"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// held returns a registrar whose region holds a place at us-4.
func held(g *group, votes bool) *Registrar {
	g.place = expectedID("us", "us-4:1", votes)
	r := testRegistrar(g, &controls{})
	s := r.config.Applied.State()
	s.Members = append(s.Members, timeline.Member{ID: g.place, PeerAddr: "us-4:1", Learner: true})
	return r
}

// M7: the place of a node of which only the address is known is a learner, whatever the node is to become; it is held
// with the care with which a node is added.
func TestAPlaceIsHeld(t *testing.T) {
	for _, learner := range []bool{true, false} {
		g := &group{}
		s, err := testRegistrar(g, &controls{}).Add(t.Context(), "", "us-4:1", learner)
		if err != nil || s.Name != "" || !s.Learner || s.WillVote == learner || s.PeerAddr != "us-4:1" {
			t.Fatalf("%+v, %v", s, err)
		}
		c := g.changed.GetChanges()[0]
		var m timeline.Member
		if err := json.Unmarshal(g.changed.GetContext(), &m); err != nil {
			t.Fatal(err)
		}
		if c.GetNodeId() != s.ID || c.GetType() != raftpb.ConfChangeType_ConfChangeAddLearnerNode || m.ID != s.ID ||
			m.PeerAddr != "us-4:1" || m.Name != "" || willVote(s.ID) == learner {
			t.Errorf("%v, %+v", c, m)
		}
		for _, p := range held(&group{}, !learner).List() {
			place := p.ID == s.ID
			if p.Is(s.ID) != place || p.Expected != place || p.WillVote != (place && !learner) {
				t.Errorf("%+v", p)
			}
		}
	}
	g := &group{}
	r := testRegistrar(g, &controls{})
	for addr, want := range map[string]error{"us-1": contract.ErrMember, "": contract.ErrMember} {
		if _, err := r.Add(t.Context(), "", addr, false); !errors.Is(err, want) || g.changed != nil {
			t.Errorf("at %q: %v, %v", addr, err, g.changed)
		}
	}
	r = held(g, true)
	if _, err := r.Add(t.Context(), "", "us-4:1", true); !errors.Is(err, contract.ErrMember) || g.changed != nil {
		t.Errorf("twice: %v, %v", err, g.changed)
	}
	dead := testRegistrar(&group{silent: true}, &controls{})
	if _, err := dead.Add(t.Context(), "", "us-4:1", false); !errors.Is(err, contract.ErrUnhealthy) {
		t.Errorf("a voter, while one is dead: %v", err)
	}
}

// M7: who comes to the address has the place, under his own name, as what he was added for; nobody else has it.
func TestAPlaceIsTaken(t *testing.T) {
	id := RaftID("us", "us-4")
	came := change{Do: "take", ID: id, Name: "us-4", PeerAddr: "us-4:1", Clients: []string{"http://us-4"}}
	for _, votes := range []bool{true, false} {
		g := &group{}
		r := held(g, votes)
		if err := r.apply(t.Context(), came); err != nil || len(g.all) != 2 {
			t.Fatalf("%v, %v", g.all, err)
		}
		added, left := g.all[0].GetChanges()[0], g.all[1].GetChanges()[0]
		kind := raftpb.ConfChangeType_ConfChangeAddLearnerNode
		if votes {
			kind = raftpb.ConfChangeType_ConfChangeAddNode
		}
		var m timeline.Member
		if err := json.Unmarshal(g.all[0].GetContext(), &m); err != nil {
			t.Fatal(err)
		}
		if added.GetNodeId() != id || added.GetType() != kind || m.Name != "us-4" || m.PeerAddr != "us-4:1" ||
			len(m.ClientURLs) != 1 || left.GetNodeId() != g.place ||
			left.GetType() != raftpb.ConfChangeType_ConfChangeRemoveNode {
			t.Errorf("%v, %v, %+v", added, left, m)
		}
	}
	for what, c := range map[string]struct {
		change change
		want   error
	}{
		"another address": {change{Do: "take", ID: id, Name: "us-4", PeerAddr: "us-4:2"}, nil},
		"another's name":  {change{Do: "take", ID: 2, Name: "us-4", PeerAddr: "us-4:1"}, contract.ErrRejected},
		"no name":         {change{Do: "take", ID: 2, PeerAddr: "us-4:1"}, contract.ErrRejected},
	} {
		g := &group{}
		if err := held(g, true).apply(t.Context(), c.change); !errors.Is(err, c.want) || g.changed != nil {
			t.Errorf("%s: %v, %v", what, err, g.changed)
		}
	}
	g := &group{}
	r := held(g, true)
	r.config.Applied.State().Removed = []uint64{id}
	if err := r.apply(t.Context(), came); !errors.Is(err, contract.ErrRemoved) || g.changed != nil {
		t.Errorf("a name that was removed: %v, %v", err, g.changed)
	}
}

// Who is told that a node came brings it to its place; what the node was called before it came means it.
func TestWhoComesIsWelcome(t *testing.T) {
	g := &group{}
	r := held(g, true)
	p := Presence{Region: "us", Member: timeline.Member{ID: RaftID("us", "us-4"), Name: "us-4", PeerAddr: "us-4:2"}}
	if r.expects(p); len(r.come) != 0 {
		t.Error("somebody else is expected")
	}
	p.Member.PeerAddr = "us-4:1"
	r.expects(p)
	r.expects(p)
	if r.welcome(t.Context(), <-r.come); len(g.all) != 2 || len(r.come) != 0 {
		t.Errorf("%v", g.all)
	}
	s := r.config.Applied.State()
	s.Members = append(s.Members, timeline.Member{ID: 3, Name: "us-3", PeerAddr: "us-3:1"})
	if got := r.at(expectedID("us", "us-3:1", true)); got != 3 {
		t.Errorf("the place of us-3 is %d", got)
	}
	if got := r.at(g.place); got != g.place {
		t.Errorf("a place that nobody has taken is %d", got)
	}
	if got := r.at(77); got != 77 {
		t.Errorf("nobody is %d", got)
	}
}
