package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// copyOf stops a node, takes a copy of its disk, and starts it again.
func (f *testFleet) copyOf(name string) *vfs.MemFS {
	f.stop(name)
	old := f.nodes[name].disk.CrashClone(vfs.CrashCloneCfg{})
	f.start(name)
	return old
}

// refusesToStart starts a node that must not, and returns why it does not.
func (f *testFleet) refusesToStart(name string) error {
	f.t.Helper()
	r, err := replication.NewMultiRegionReplicator(f.configOf(name), &ledger{})
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(f.configOf(name)))
	err = r.Start(f.t.Context())
	defer func() { _ = r.Shutdown() }()
	if err == nil {
		f.t.Errorf("%s started on an older copy of its disk", name)
		return nil
	}
	if !errors.Is(err, replication.ErrDiskLost) {
		f.t.Errorf("%s does not start: %v", name, err)
	}
	return err
}

// goesOn writes a value, takes a copy of a node's disk, and goes on writing there, until every node has count values.
// It returns the copy.
func (f *testFleet) goesOn(name string, count int) *vfs.MemFS {
	f.t.Helper()
	f.put(name, "c0")
	f.eventually(values(0, 1))
	old := f.copyOf(name)
	for _, v := range values(1, count) {
		f.put(name, v)
	}
	f.eventually(values(0, count))
	return old
}

// forget takes from nodes that are down what they remember of others.
func (f *testFleet) forget(names ...string) {
	f.t.Helper()
	for _, n := range names {
		if err := f.nodes[n].disk.Remove("/data/HEARD"); err != nil && !errors.Is(err, os.ErrNotExist) {
			f.t.Fatal(err)
		}
	}
}

// heardBy waits until a node has heard how far another region is.
func (f *testFleet) heardBy(node, region string, at replication.Position) {
	f.t.Helper()
	f.within(time.Minute, node+" hears of "+region, func() bool {
		return slices.ContainsFunc(f.nodes[node].Health().Peers, func(p replication.PeerStatus) bool {
			return p.ID == region && p.Position >= at
		})
	})
}

// goesOnElsewhere fails over to eu, which has count values, and checks that us follows with these and one more.
func (f *testFleet) goesOnElsewhere(count int) {
	f.t.Helper()
	if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
		f.t.Fatal(err)
	}
	f.put("us-1", fmt.Sprintf("c%d", count))
	f.eventually(values(0, count+1))
	if h := f.nodes["us-1"].Health(); !h.Healthy {
		f.t.Errorf("us-1: %s", h.Problem)
	}
}

// TestAnOlderCopyOfADiskIsNoticed: two of three nodes acknowledged writes that only they have in their region, one of
// them comes back with an older disk, and the other is gone. The majority that is left must not go on without these
// writes.
func TestAnOlderCopyOfADiskIsNoticed(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-3")
		old := f.copyOf("us-2")
		for _, v := range values(1, 200) {
			f.put("us-1", v)
		}
		f.eventually(values(0, 200))
		f.heardBy("eu-1", "us", 200)
		f.kill("us-1")
		f.kill("us-2")
		f.nodes["us-2"].disk = old
		f.start("us-3")
		if err := f.refusesToStart("us-2"); err != nil && !strings.Contains(err.Error(), "remove the member") {
			t.Errorf("says not what to do: %v", err)
		}
		f.start("us-1")
		f.put("eu-1", "c200")
		f.eventually(values(0, 201))
	})
}

// TestAnOlderCopyIsNoticedByItsLeader: the same within one region.
func TestAnOlderCopyIsNoticedByItsLeader(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		victim := "us-1"
		if f.nodes[victim].Health().IsLeader {
			victim = "us-2"
		}
		old := f.copyOf(victim)
		for _, v := range values(1, 20) {
			f.put("us-3", v)
		}
		f.eventually(values(0, 20))
		f.kill(victim)
		f.nodes[victim].disk = old
		_ = f.refusesToStart(victim)
	})
}

// TestAnOlderCopyThatNobodyAnswersStopsLater: those who remember are cut off when the node starts, and tell it when
// they are back.
func TestAnOlderCopyThatNobodyAnswersStopsLater(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		old := f.goesOn("us-1", 20)
		f.heardBy("eu-1", "us", 20)
		f.kill("us-1")
		f.nodes["us-1"].disk = old
		f.network.Isolate("eu-1")
		f.start("us-1")
		f.network.HealAll()
		f.within(time.Minute, "us-1 stops itself", func() bool { return f.nodes["us-1"].Err() != nil })
		if err := f.nodes["us-1"].Err(); !errors.Is(err, replication.ErrDiskLost) {
			t.Errorf("stopped with %v", err)
		}
	})
}

// TestADiskThatWasGivenUpStaysSo: whoever was told that its disk went back does not start again when those who know are
// gone, however often it is tried. The count of starts alone would let it pass.
func TestADiskThatWasGivenUpStaysSo(t *testing.T) {
	for name, late := range map[string]bool{"told before it serves": false, "told while it serves": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
				old := f.goesOn("us-1", 20)
				f.heardBy("eu-1", "us", 20)
				f.kill("us-1")
				f.nodes["us-1"].disk = old
				if late {
					f.network.Isolate("eu-1")
					f.start("us-1")
					f.network.HealAll()
					f.within(time.Minute, "us-1 stops itself", func() bool { return f.nodes["us-1"].Err() != nil })
					f.kill("us-1")
				} else {
					_ = f.refusesToStart("us-1")
				}
				f.kill("eu-1")
				for range 3 {
					err := f.refusesToStart("us-1")
					if err != nil && !strings.Contains(err.Error(), "with an empty data directory") {
						t.Errorf("says not what to do: %v", err)
					}
				}
			})
		})
	}
}

// TestAFleetThatWasStartedAnewRemembers: every process ends, the one of an older disk among them, and what they heard
// of each other outlasts them, within a region as between two.
func TestAFleetThatWasStartedAnewRemembers(t *testing.T) {
	for _, regions := range []map[string]int{{"us": 1, "eu": 1}, {"us": 3}} {
		inBubble(t, regions, func(f *testFleet) {
			old := f.goesOn("us-1", 20)
			time.Sleep(20 * time.Second)
			for _, n := range f.names() {
				f.kill(n)
			}
			f.nodes["us-1"].disk = old
			for _, n := range f.names() {
				if n != "us-1" {
					f.start(n)
				}
			}
			_ = f.refusesToStart("us-1")
		})
	}
}

// TestAMemberThatLostWhatItAcknowledgedStaysAway: its leader tells it, it stops, and a restart does not make it good.
func TestAMemberThatLostWhatItAcknowledgedStaysAway(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		victim := f.followersOf("us")[0]
		leader := f.leaderOf("us")
		f.kill(victim)
		forgot := f.nodes[victim].disk.CrashClone(vfs.CrashCloneCfg{})
		f.start(victim)
		for _, v := range values(1, 20) {
			f.put(leader, v)
		}
		f.eventually(values(0, 20))
		f.kill(victim)
		f.nodes[victim].disk = forgot
		alone := func() { // a start asks nobody who knows
			for _, n := range f.regions["us"] {
				if n != victim {
					f.network.Isolate(n)
				}
			}
		}
		alone()
		f.start(victim)
		f.network.HealAll()
		f.within(time.Minute, victim+" stops itself", func() bool { return f.nodes[victim].Err() != nil })
		if err := f.nodes[victim].Err(); !errors.Is(err, replication.ErrDiskLost) {
			t.Errorf("stopped with %v", err)
		}
		f.kill(victim)
		alone()
		_ = f.refusesToStart(victim)
		f.network.HealAll()
		f.put(f.followersOf("us")[0], "c20")
	})
}

// TestARestartIsNoOlderCopy: whatever was lost in a power cut had not been told to anybody, so that every node starts.
func TestARestartIsNoOlderCopy(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		for i := range 5 {
			for range 10 {
				ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
				_, err := f.nodes["eu-1"].Propose(ctx, []*replication.Command{{Data: fmt.Append(nil, i)}})
				cancel()
				if err != nil && !errors.Is(err, replication.ErrUnknownOutcome) {
					t.Fatal(err)
				}
			}
			for _, n := range f.regions["us"] {
				f.kill(n)
				f.start(n)
			}
		}
		f.put("us-2", "last")
		ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
		defer cancel()
		if err := f.nodes["us-2"].ReadBarrier(ctx, replication.Linearizable); err != nil {
			t.Fatal(err)
		}
		f.eventually(f.nodes["us-2"].ledger.commands())
	})
}

// TestAPrimaryThatLostAPartOfItsReignIsFenced: nobody remembers the node's disk, but the other region has what it
// streamed. Nothing is acknowledged in its stead, and nothing read without it; by a failover the writes come back.
func TestAPrimaryThatLostAPartOfItsReignIsFenced(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		old := f.goesOn("us-1", 20)
		f.kill("us-1")
		f.kill("eu-1")
		f.forget("eu-1")
		f.start("eu-1")
		f.nodes["us-1"].disk = old
		f.start("us-1")
		f.takesNothing("us-1", "eu-1")
		if h := f.nodes["us-1"].Health(); h.Healthy || !strings.Contains(h.Problem, "failover --to eu --force") {
			t.Errorf("us-1 is healthy: %t, %q", h.Healthy, h.Problem)
		}
		f.goesOnElsewhere(20)
	})
}

// TestANodeWithoutItsLogDoesNotStart: it would have forgotten its votes, and what it acknowledged; also one that
// joined, whom nobody tells.
func TestANodeWithoutItsLogDoesNotStart(t *testing.T) {
	for _, joined := range []bool{false, true} {
		inBubble(t, map[string]int{"us": 1}, func(f *testFleet) {
			f.put("us-1", "c0")
			f.stop("us-1")
			n := f.nodes["us-1"]
			if err := n.disk.RemoveAll("/data/wal"); err != nil {
				t.Fatal(err)
			}
			c := f.configOf("us-1")
			c.Join = joined
			r, err := replication.NewMultiRegionReplicator(c, &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(f.network.Node("us-1"))
			if err := r.Start(f.t.Context()); !errors.Is(err, replication.ErrDiskLost) {
				t.Errorf("joined %t: started with %v", joined, err)
			}
		})
	}
}
