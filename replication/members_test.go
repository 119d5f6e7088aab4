package replication_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// within waits, in virtual time, until ok.
func (f *testFleet) within(d time.Duration, what string, ok func() bool) {
	f.t.Helper()
	for until := time.Now().Add(d); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			f.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// leaderOf waits until all running nodes of a region agree on a leader that runs, and returns its name.
func (f *testFleet) leaderOf(region string) (leader string) {
	f.t.Helper()
	f.within(time.Minute, "a leader of "+region, func() bool {
		leader = ""
		for _, name := range f.regions[region] {
			n := f.nodes[name]
			if !n.up.Load() {
				continue
			}
			if id := n.LeaderID(); leader == "" {
				leader = id
			} else if id != leader {
				return false
			}
		}
		return leader != "" && f.nodes[leader].up.Load() && f.nodes[leader].IsLeader()
	})
	return leader
}

// followersOf returns the nodes of a region beside its leader.
func (f *testFleet) followersOf(region string) []string {
	leader := f.leaderOf(region)
	other := func(n string) bool { return n == leader || !f.nodes[n].up.Load() }
	return slices.DeleteFunc(slices.Clone(f.regions[region]), other)
}

// idOf returns the Raft identity of a node, as another one has it.
func (f *testFleet) idOf(asked, name string) uint64 {
	f.t.Helper()
	members, err := f.nodes[asked].Members(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range members {
		if m.Name == name {
			return m.ID
		}
	}
	f.t.Fatalf("%s does not know %s: %+v", asked, name, members)
	return 0
}

func (f *testFleet) remove(asked, name string) error {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	return f.nodes[asked].RemoveMember(ctx, f.idOf(asked, name))
}

// add adds a node that is not started.
func (f *testFleet) add(asked, name string, learner bool) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	_, err := f.nodes[asked].AddMember(ctx, name, name, learner)
	return err
}

// stopsItself waits until a node has ended because it was removed.
func (f *testFleet) stopsItself(name string) {
	f.t.Helper()
	n := f.nodes[name]
	f.within(10*time.Second, name+" stops itself", func() bool { return n.Err() != nil })
	if err := n.Err(); !errors.Is(err, replication.ErrStopped) || !errors.Is(err, replication.ErrRemoved) {
		f.t.Errorf("%s ended with %v", name, err)
	}
	f.stop(name)
}

// A region of three with one dead lives from the other two: neither is given away, and none is added that would have
// to vote. The dead one can be removed.
func TestMembershipAsksWhoLives(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader, others := f.leaderOf("us"), f.followersOf("us")
		dead, living := others[0], others[1]
		f.kill(dead)
		for what, err := range map[string]error{
			"remove the living follower": f.remove(leader, living),
			"remove the leader":          f.remove(living, leader),
			"add a voter":                f.add(leader, "us-4", false),
		} {
			if !errors.Is(err, replication.ErrUnhealthy) {
				t.Errorf("%s: %v", what, err)
			}
		}
		f.put(leader, "c1")
		if err := f.remove(leader, dead); err != nil {
			t.Fatalf("remove the dead one: %v", err)
		}
		if err := f.add(leader, dead, true); !errors.Is(err, replication.ErrRemoved) {
			t.Errorf("add it again: %v", err)
		}
		if err := f.add(leader, "us-4", true); err != nil {
			t.Errorf("add another: %v", err)
		}
		f.put(leader, "c2")
		f.eventually(values(0, 3))
	})
}

// Somebody who answered a moment ago may be dead by now.
func TestWhoDiedAMomentAgoDoesNotLive(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader, others := f.leaderOf("us"), f.followersOf("us")
		for range 25 { // wherever the leader's own round of asking is
			time.Sleep(40 * time.Millisecond)
			if members, _ := f.nodes[leader].Members(f.t.Context()); slices.ContainsFunc(members,
				func(m replication.NodeStatus) bool { return !m.Reachable }) {
				t.Fatalf("a living node is shown as unreachable: %+v", members)
			}
		}
		f.network.Isolate(others[0])
		if err := f.remove(leader, others[1]); !errors.Is(err, replication.ErrUnhealthy) {
			t.Errorf("removed right after another one was cut off: %v", err)
		}
		f.network.HealAll()
	})
}

// A node that is removed ends at once, whether it leads or follows, and whoever is asked; its region goes on.
func TestARemovedNodeStopsItself(t *testing.T) {
	inBubble(t, map[string]int{"us": 5, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		follower := f.followersOf("us")[0]
		if err := f.remove(follower, follower); err != nil {
			t.Fatalf("a follower removes itself: %v", err)
		}
		f.stopsItself(follower)
		leader := f.leaderOf("us")
		if err := f.remove(leader, leader); err != nil {
			t.Fatalf("the leader removes itself: %v", err)
		}
		f.stopsItself(leader)
		f.put(f.leaderOf("us"), "c1")
		f.eventually(values(0, 2))
		for _, name := range []string{follower, leader} {
			f.refuses(name)
		}
	})
}

// refuses checks that a node that was removed does not come up again.
func (f *testFleet) refuses(name string) {
	f.t.Helper()
	n := f.nodes[name]
	r, err := replication.NewMultiRegionReplicator(f.configOf(name), &ledger{})
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(f.configOf(name)))
	if err = r.Start(f.t.Context()); err == nil {
		f.within(10*time.Second, name+" is told", func() bool { return r.Err() != nil })
		err = r.Err()
	}
	if !errors.Is(err, replication.ErrRemoved) {
		f.t.Errorf("%s: %v", name, err)
	}
	if err := r.Shutdown(); err != nil {
		f.t.Error(err)
	}
	n.up.Store(false)
}

// A node that was cut off when it was removed is told when it is back; one that was down, when it starts; one whose
// disk is empty, before it starts.
func TestARemovedNodeIsTold(t *testing.T) {
	inBubble(t, map[string]int{"us": 5}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader, others := f.leaderOf("us"), f.followersOf("us")
		f.network.Isolate(others[0])
		f.within(time.Minute, "the cut is noticed", func() bool { return f.nodes[others[0]].LeaderID() == "" })
		if err := f.remove(leader, others[0]); err != nil {
			t.Fatal(err)
		}
		if h := f.nodes[others[0]].Health(); h.Healthy {
			t.Errorf("cut off, and healthy: %+v", h)
		}
		time.Sleep(20 * time.Second)
		if err := f.nodes[others[0]].Err(); err != nil {
			t.Fatalf("ended without having been told: %v", err)
		}
		f.network.HealAll()
		f.stopsItself(others[0])
		f.kill(others[1])
		if err := f.remove(leader, others[1]); err != nil {
			t.Fatal(err)
		}
		f.refuses(others[1])
		f.nodes[others[1]].disk = freshDisk()
		f.refuses(others[1])
		f.put(leader, "c1")
		f.eventually(values(0, 2))
	})
}

// A learner hears nothing when it is forgotten, and says nothing by itself: it asks.
func TestARemovedLearnerIsTold(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader := f.leaderOf("us")
		if err := f.add(leader, "us-4", true); err != nil {
			t.Fatal(err)
		}
		f.join("us", "us-4")
		f.eventually(values(0, 1))
		f.network.Isolate("us-4")
		time.Sleep(5 * time.Second)
		if err := f.remove(leader, "us-4"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		f.network.HealAll()
		f.stopsItself("us-4")
	})
}
