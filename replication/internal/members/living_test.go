package members

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// M6, for regions of every size and every number of dead: what a change leaves is a majority that lives, or the change
// is refused; and the dead can always be removed as long as there is a majority at all.
func TestNoChangeCostsTheQuorum(t *testing.T) {
	for size := 1; size <= 7; size++ {
		for dead := 0; size-dead >= majority(size); dead++ {
			var voters []uint64
			for id := range size {
				voters = append(voters, uint64(id+1)) // the last ones are dead
			}
			lives := func(id uint64) bool { return int(id) <= size-dead || id == 9 }
			living := size - dead
			for _, c := range []struct {
				change change
				safe   bool
			}{
				{change{Do: "remove", ID: 1}, size == 1 || living-1 >= majority(size-1)},
				{change{Do: "remove", ID: uint64(size)}, dead > 0 || living-1 >= majority(size-1)},
				{change{Do: "remove", ID: 99}, true}, // a learner
				{change{Do: "add", ID: 9, Learner: true}, true},
				{change{Do: "add", ID: 9}, dead == 0},
				{change{Do: "promote", ID: 9}, living+1 >= majority(size+1)},
				{change{Do: "promote", ID: 10}, living >= majority(size+1)}, // it died since it was heard
				{change{Do: "update", ID: 1}, true},
			} {
				if c.change.Do == "remove" && size == 1 && c.change.ID == 1 {
					continue // refused as the last voter, before
				}
				err := c.change.danger(voters, lives)
				if (err == nil) != c.safe || err != nil && !errors.Is(err, contract.ErrUnhealthy) {
					t.Errorf("%d voters, %d dead, %s of %d: %v", size, dead, c.change.Do, c.change.ID, err)
				}
			}
		}
	}
}

// Who takes over from a leader that is removed: a voter that lives, the furthest of them.
func TestTheSuccessorLives(t *testing.T) {
	s := (&group{}).Status()
	s.Conf.Voters = []uint64{1, 2, 4, 5}
	s.Progress = map[uint64]raftgroup.Progress{
		1: {Match: 9, Active: true}, 2: {Match: 9}, 3: {Match: 9, Active: true}, 4: {Match: 7, Active: true},
		5: {Match: 8, Active: true},
	}
	if to := successors(s); !slices.Equal(to, []uint64{5, 4, 2}) {
		t.Errorf("%d take over, in this order", to)
	}
}

// One that refuses the lead, as one does that holds something else than its region, keeps no leader from being removed.
func TestTheNextOneTakesTheLeadThatAnotherRefuses(t *testing.T) {
	g := &group{voters: []uint64{1, 2, 4, 5}}
	r := testRegistrar(g, &controls{})
	refusing := func(ids ...uint64) (asked []uint64, err error) {
		g.hands = func(to uint64) error {
			if asked = append(asked, to); slices.Contains(ids, to) {
				return fmt.Errorf("%w: %d must not lead", raftgroup.ErrTransfer, to)
			}
			return nil
		}
		err = r.handOver(t.Context())
		return asked, err
	}
	if asked, err := refusing(2); err != nil || !slices.Equal(asked, []uint64{2, 4}) {
		t.Errorf("asked %d, %v", asked, err)
	}
	_, err := refusing(2, 4, 5)
	if !errors.Is(err, contract.ErrMember) || !strings.Contains(err.Error(), "5 must not lead") {
		t.Errorf("nobody takes it: %v", err)
	}
}

// M4: what is tried, in which order, by who said what when.
func TestTheNewestWordOfANodeIsTriedFirst(t *testing.T) {
	for _, c := range []struct {
		why             string
		configured      string
		published, told timeline.Member
		want            []string
	}{
		{"nothing known", "", timeline.Member{}, timeline.Member{}, nil},
		{"a file that is newer than the log, or older: nobody knows", "file",
			timeline.Member{PeerAddr: "log", Starts: 3}, timeline.Member{}, []string{"file", "log"}},
		{"its own word", "file", timeline.Member{PeerAddr: "log", Starts: 3},
			timeline.Member{PeerAddr: "own", Starts: 4}, []string{"own", "file", "log"}},
		{"an operator's word, and the node is where it was", "file", timeline.Member{PeerAddr: "log", Starts: 4},
			timeline.Member{PeerAddr: "own", Starts: 4}, []string{"own", "file", "log"}},
		{"published since it was heard", "file", timeline.Member{PeerAddr: "log", Starts: 5},
			timeline.Member{PeerAddr: "own", Starts: 4}, []string{"log", "own", "file"}},
		{"all the same", "here", timeline.Member{PeerAddr: "here", Starts: 5},
			timeline.Member{PeerAddr: "here", Starts: 4}, []string{"here"}},
	} {
		r := testRegistrar(&group{}, &controls{})
		d := r.config.Directory
		if c.configured != "" {
			d.configured[2] = named{"us-2", c.configured}
		}
		c.published.ID, c.told.ID = 2, 2
		r.config.Applied.State().Members = []timeline.Member{c.published}
		d.Tell(c.told)
		if got := d.Addresses(2); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
		var tried []string
		for range c.want {
			addr, _ := d.Addr(2)
			tried = append(tried, addr)
			d.Failed(2, "somewhere else")
			d.Failed(2, addr)
		}
		if !slices.Equal(tried, c.want) {
			t.Errorf("%s: tried %q in turn, want %q", c.why, tried, c.want)
		}
		if addr, ok := d.Addr(2); ok && addr != c.want[0] {
			t.Errorf("%s: after all have failed %q is tried", c.why, addr)
		}
	}
}

// What a node says of an earlier start than is known changes nothing, and neither does what somebody else says of the
// same one.
func TestAnOlderWordChangesNothing(t *testing.T) {
	d := testRegistrar(&group{}, &controls{}).config.Directory
	d.Tell(timeline.Member{ID: 2, PeerAddr: "own", Starts: 4})
	d.Tell(timeline.Member{ID: 2, PeerAddr: "before", Starts: 3})
	d.Pass(timeline.Member{ID: 2, PeerAddr: "an operator's", Starts: 4})
	d.Tell(timeline.Member{ID: 1, PeerAddr: "this node elsewhere", Starts: 9})
	if got := fmt.Sprint(d.Addresses(2), d.Addresses(1)); got != "[own] [us-1]" {
		t.Errorf("%s", got)
	}
	d.Pass(timeline.Member{ID: 2, PeerAddr: "since", Starts: 5})
	if addr, _ := d.Addr(2); addr != "since" {
		t.Errorf("at %s", addr)
	}
}

// M5: who is told that it was removed.
// Who joins finds the leader that brings it the state, even if none of the nodes that are configured is there any more.
func TestWhoJoinsLearnsWhereOthersAre(t *testing.T) {
	for _, joining := range []bool{true, false} {
		r := testRegistrar(&group{joining: joining}, &controls{})
		other := timeline.Member{ID: 9, PeerAddr: "us-9", Starts: 1}
		if _, err := r.meet(Presence{Region: "us", Member: other}); err != nil {
			t.Fatal(err)
		}
		if addr, known := r.config.Directory.Addr(9); known != joining {
			t.Errorf("joining %t: a node that is no member here is at %q", joining, addr)
		}
	}
}

func TestWhoIsToldThatItWasRemoved(t *testing.T) {
	r := testRegistrar(&group{applied: 50}, &controls{})
	r.config.Applied.State().Removed = []uint64{7}
	for _, c := range []struct {
		why     string
		id      uint64
		index   uint64
		removed bool
	}{
		{"a member", 2, 40, false},
		{"a learner that knows less", 3, 0, false},
		{"one that is remembered", 7, 0, true},
		{"one that was a member, and that nobody remembers", 8, 50, true},
		{"one that became a member after what is applied here", 8, 51, false},
		{"one that waits to be added", 8, 0, false},
	} {
		answer, err := r.meet(Presence{Region: "us", Member: timeline.Member{ID: c.id, Starts: 1}, Index: c.index})
		if err != nil || answer.Removed != c.removed || answer.Self.ID != 1 {
			t.Errorf("%s: %+v, %v", c.why, answer, err)
		}
	}
	if answer, err := r.meet(Presence{Region: "eu", Member: timeline.Member{ID: 7}}); err == nil {
		t.Errorf("a node of another region was answered %+v", answer)
	}
}

// A name is not used twice, and the region says so.
func TestARemovedNameIsNotAdded(t *testing.T) {
	g := &group{}
	r := testRegistrar(g, &controls{})
	r.config.Applied.State().Removed = []uint64{RaftID("us", "us-9")}
	if _, err := r.Add(t.Context(), "us-9", "us-9", true); !errors.Is(err, contract.ErrRemoved) || g.changed != nil {
		t.Errorf("added: %v, %v", err, g.changed)
	}
}

// What a node published before its last start, and arrives late, does not undo what it said since.
func TestAWordOfAnEarlierStartIsNotPublished(t *testing.T) {
	c := &controls{}
	r := testRegistrar(&group{}, c)
	r.config.Applied.State().Members = []timeline.Member{{ID: 2, PeerAddr: "now", Starts: 4}}
	for starts, want := range map[uint64]error{3: contract.ErrRejected, 4: contract.ErrRejected, 5: nil, 0: nil} {
		m := timeline.Member{ID: 2, PeerAddr: "then", Starts: starts}
		if err := r.publish(t.Context(), publication{m}); !errors.Is(err, want) {
			t.Errorf("of start %d: %v, want %v", starts, err, want)
		}
	}
}

// A node publishes each of its starts, once under one leader: an older leader does not count them. It leaves alone what
// an operator says of where it is.
func TestANodePublishesItsStart(t *testing.T) {
	c := &controls{}
	r := testRegistrar(&group{}, c)
	r.config.Self.Starts = 3
	r.describe(t.Context())
	r.describe(t.Context())
	if len(c.proposed) != 1 || c.proposed[0].Member.Starts != 3 {
		t.Fatalf("proposed %v", c.proposed)
	}
	r.config.Applied.State().Members[0] = timeline.Member{ID: 1, Name: "us-1", PeerAddr: "an operator's", Starts: 3}
	r.describe(t.Context())
	if len(c.proposed) != 1 {
		t.Fatalf("an operator's word is undone: %+v", c.proposed[1].Member)
	}
	r.config.Self.ClientURLs = []string{"http://us-1"}
	r.describe(t.Context())
	if len(c.proposed) != 2 || c.proposed[1].Member.PeerAddr != "an operator's" {
		t.Fatalf("proposed %v", c.proposed)
	}
}
