package members

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// held returns a registrar whose region holds a place at us-4:1, where the node of this name is; nobody if it is "".
func held(t *testing.T, g *group, votes bool, name string) *Registrar {
	g.place = expectedID("us", "us-4:1", votes)
	r := testRegistrar(g, &controls{})
	network := memory.NewNetwork(clock.Real, 1)
	ours, theirs := network.Node("us-1"), network.Node("us-4:1")
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	r.config.Client, r.config.Timeout = peer.NewClient(ours), 30*time.Second
	if name != "" {
		there := testRegistrar(&group{joining: true}, &controls{})
		there.config.Self = timeline.Member{ID: RaftID("us", name), Name: name, PeerAddr: "us-4:1"}
		questions := peer.NewRegistry(func() error { return nil }, nil)
		there.Register(questions)
		if err := theirs.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
	}
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
			m.PeerAddr != "us-4:1" || m.Name != "" || timeline.PlaceVotes(s.ID) == learner {
			t.Errorf("%v, %+v", c, m)
		}
		for _, p := range held(t, &group{}, !learner, "").List() {
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
	r = held(t, g, true, "")
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
		r := held(t, g, votes, "us-4")
		if err := r.apply(t.Context(), came); err != nil || len(g.all) != 2 {
			t.Fatalf("%v, %v", g.all, err)
		}
		place := expectedID("us", "us-4:1", votes)
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
			len(m.ClientURLs) != 1 || m.Place != place || left.GetNodeId() != place ||
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
		if err := held(t, g, true, "us-4").apply(t.Context(), c.change); !errors.Is(err, c.want) || g.changed != nil {
			t.Errorf("%s: %v, %v", what, err, g.changed)
		}
	}
	g := &group{}
	r := held(t, g, true, "us-4")
	r.config.Applied.State().Removed = []uint64{id}
	if err := r.apply(t.Context(), came); !errors.Is(err, contract.ErrRemoved) || g.changed != nil {
		t.Errorf("a name that was removed: %v, %v", err, g.changed)
	}
}

// Who is told that a node came brings it to its place.
func TestWhoComesIsWelcome(t *testing.T) {
	g := &group{}
	r := held(t, g, true, "us-4")
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
}

// M7: a node's own word that it is at an address is no proof of it, and neither is another's. Nobody becomes a member,
// let alone a voter, whom the leader does not find there.
func TestAPlaceIsForWhoIsThere(t *testing.T) {
	for what, name := range map[string]string{"nobody": "", "another": "us-5"} {
		g := &group{}
		r := held(t, g, true, name)
		err := r.apply(t.Context(), change{Do: "take", ID: RaftID("us", "us-4"), Name: "us-4", PeerAddr: "us-4:1"})
		if !errors.Is(err, contract.ErrNotReady) || g.changed != nil ||
			!strings.Contains(err.Error(), "us-4 is not found at us-4:1") {
			t.Errorf("%s is there: %v, %v", what, err, g.changed)
		}
	}
}

// Every node that is told that one came brings it; the place is taken once, and all of them are right.
func TestAPlaceIsTakenOnce(t *testing.T) {
	g := &group{}
	r := held(t, g, true, "us-4")
	said := make(chan error, 3)
	for range cap(said) {
		go func() {
			said <- r.apply(t.Context(),
				change{Do: "take", ID: RaftID("us", "us-4"), Name: "us-4", PeerAddr: "us-4:1"})
		}()
	}
	for range cap(said) {
		if err := <-said; err != nil {
			t.Error(err)
		}
	}
	if len(g.all) != 2 {
		t.Errorf("%v", g.all)
	}
	came := change{Do: "take", ID: RaftID("us", "us-4"), PeerAddr: "us-4:1"}
	if r = held(t, g, true, ""); r.taken(came, contract.ErrMember) {
		t.Error("a place that is held is taken")
	}
	if g.place = 0; !r.taken(came, contract.ErrMember) || r.taken(came, contract.ErrNotReady) {
		t.Error("a place that is gone is not taken, or whatever fails takes it")
	}
}

// The identity of a place means the node that took it, as long as it can mean no other: not who comes to the address
// after the place was given up.
func TestAPlaceMeansWhoTookIt(t *testing.T) {
	place := expectedID("us", "us-3:1", true)
	third := timeline.Member{ID: 3, Name: "us-3", PeerAddr: "us-3:1", Learner: true}
	took, second := third, timeline.Member{ID: 2, Name: "us-2", PeerAddr: "us-2:1", Place: place}
	took.Place = place
	for why, c := range map[string]struct {
		members []timeline.Member
		learner uint64 // the place, held once more
		want    uint64
	}{
		"nobody":                   {nil, 0, place},
		"who came without a place": {[]timeline.Member{third}, 0, place},
		"who took it":              {[]timeline.Member{took}, 0, 3},
		"two took it":              {[]timeline.Member{second, took}, 0, place},
		"it is held again":         {[]timeline.Member{took, {ID: place, PeerAddr: "us-3:1"}}, place, place},
	} {
		r := testRegistrar(&group{place: c.learner}, &controls{})
		s := r.config.Applied.State()
		s.Members = append(s.Members, c.members...)
		if got := r.at(place); got != c.want {
			t.Errorf("%s: %d", why, got)
		}
		for _, n := range r.List() {
			if n.Is(place) != (n.ID == c.want) {
				t.Errorf("%s: %+v", why, n)
			}
		}
	}
	c := &controls{}
	r := testRegistrar(&group{}, c)
	r.config.Applied.State().Members = []timeline.Member{took}
	moved := publication{timeline.Member{ID: 3, Name: "us-3", PeerAddr: "us-3:2", Starts: 2}}
	if err := r.publish(t.Context(), moved); err != nil || c.proposed[0].Member.Place != place {
		t.Errorf("it moves: %v", err)
	}
}

// A learner whose name the region does not know yet is no place: it does not remove itself when it comes.
func TestALearnerWithoutANameIsNoPlace(t *testing.T) {
	g := &group{}
	r := held(t, g, true, "us-4")
	g.place = RaftID("us", "us-4")
	s := r.config.Applied.State()
	s.Members[len(s.Members)-1].ID = g.place
	m := timeline.Member{ID: g.place, Name: "us-4", PeerAddr: "us-4:1", Starts: 1}
	if r.expects(Presence{Region: "us", Member: m}); len(r.come) != 0 {
		t.Error("it is expected")
	}
	if r.welcome(t.Context(), m); g.changed != nil {
		t.Errorf("%v", g.all)
	}
	r.config.Directory.Tell(m)
	for _, n := range r.List() {
		if n.Expected {
			t.Errorf("it has spoken, and is expected: %+v", n)
		}
	}
}
