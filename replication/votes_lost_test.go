package replication_test

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/witness"
)

// smallest is two regions of one node and a witness.
type smallest struct {
	*testFleet
	disk    *vfs.MemFS // of the witness
	witness *witness.Witness
}

// inSmallest is inBubble of the smallest fleet that moves by itself.
func inSmallest(t *testing.T, body func(f *smallest)) {
	inSmallestOf(t, replication.DefaultVotes(), body)
}

// inSmallestOf is inSmallest with these settings, but for the witness.
func inSmallestOf(t *testing.T, settings replication.VoteSettings, body func(f *smallest)) {
	ofOneEach(t, map[string]int{"us": 1, "eu": 1}, settings, func(*replication.Config) {}, body)
}

// ofOneEach is inSmallestOf of these regions, with a witness, and with what also sets.
func ofOneEach(t *testing.T, nodes map[string]int, settings replication.VoteSettings,
	also func(*replication.Config), body func(f *smallest),
) {
	shape := func(c *replication.Config) {
		s := settings
		s.Witnesses = map[string][]string{"w1": {"w1"}}
		c.Clock, c.Votes = clock.Unsuspended, &s
		also(c)
	}
	shaped(t, nodes, shape, func(f *testFleet) {
		s := &smallest{f, freshDisk(), nil}
		s.startWitness()
		defer func() { s.witness.Shutdown() }()
		f.holds("us")
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		body(s)
	})
}

func (f *smallest) startWitness() { f.startWitnessAs("w1") }

func (f *smallest) startWitnessAs(name string) {
	w, err := witness.Start(witness.Config{
		Name: name, FleetID: replication.DefaultFleetID, DataDir: "/w", FS: pebblefs.New(f.disk),
		Clock: clock.Unsuspended, Logger: slog.New(f.log),
	}, f.named(name, "witness", name))
	if err != nil {
		f.t.Fatal(err)
	}
	f.witness = w
}

// followed has eu take over from us, which is cut off and does not know, take a write, and die.
func (f *smallest) followed(before func()) {
	f.t.Helper()
	f.network.Isolate("us-1")
	f.putAfter("eu-1", "c1")
	f.holds("eu")
	before()
	f.kill("eu-1")
}

func (f *smallest) lastReign(node string) replication.Reign {
	begun := f.nodes[node].ledger.begun()
	return begun[len(begun)-1]
}

// TestAPrimaryThatWasFollowedUnheard goes on when that one is gone, and says that writes may be lost: it may use no
// revision again.
func TestAPrimaryThatWasFollowedUnheard(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.followed(func() {})
		f.network.HealAll()
		f.putAfter("us-1", "c2")
		if r := f.lastReign("us-1"); r.Epoch != 3 || !r.Lossy {
			t.Errorf("goes on with %+v", r)
		}
	})
}

// TestAPrimaryThatWasFollowedUnheardWaitsWhileItIsPaused: to go on is to move.
func TestAPrimaryThatWasFollowedUnheardWaitsWhileItIsPaused(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.followed(func() {
			if _, err := f.nodes["eu-1"].Voting().Pause(f.t.Context(), "an upgrade"); err != nil {
				t.Fatal(err)
			}
			f.within(time.Minute, "the witness knows", func() bool {
				return f.witness.State().Charter().Paused != ""
			})
		})
		f.network.HealAll()
		if r, err := f.tryPut("us-1", "c2", 20*time.Second); err == nil {
			t.Errorf("moved: %+v", r)
		}
		f.saysWhy("us-1", "an upgrade")
	})
}

// TestARecoveryMayLoseWrites, also of the region that was primary: nobody is left to tell whether it was followed.
func TestARecoveryMayLoseWrites(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.followed(func() { f.witness.Shutdown() })
		if r, err := f.nodes["us-1"].Voting().Recover(f.t.Context(), "us"); err != nil || !r.Lossy {
			t.Errorf("%+v, %v", r, err)
		}
		f.put("us-1", "c2")
		f.startWitness()
	})
}

// TestThoseWhoWereRecoveredFromDoNotTakeOver: us and the witness come back with the old charter, of which they are a
// majority, and eu goes on without them.
func TestThoseWhoWereRecoveredFromDoNotTakeOver(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.kill("us-1")
		f.witness.Shutdown()
		if _, err := f.nodes["eu-1"].Voting().Recover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "c1")
		f.start("us-1")
		f.startWitness()
		if err := f.nodes["us-1"].WaitPosition(f.t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		f.network.Cut("us-1", "eu-1")
		if r, err := f.tryPut("us-1", "other", 20*time.Second); err == nil {
			t.Errorf("us took a write beside eu: %+v", r)
		}
		f.saysWhy("us-1", "is not known to be decided by the voters of charter 1 of epoch 1")
		if r, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); !errors.Is(err, replication.ErrNotReady) ||
			!strings.Contains(err.Error(), "recover") {
			t.Errorf("forced beside eu: %+v, %v", r, err)
		}
		f.put("eu-1", "c2")
		f.network.HealAll()
		f.eventually(values(0, 3))
	})
}

// TestAnOperatorAcceptsLessThanTheBudget, and nothing is done: the voters would have allowed it.
func TestAnOperatorAcceptsLessThanTheBudget(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		if _, err := f.nodes["us-1"].Voting().Pause(f.t.Context(), "a test"); err != nil {
			t.Fatal(err)
		}
		f.kill("us-1")
		f.refusesLoss("eu-1", 5000)
		if s := f.witness.State(); s.Ballot.Promised != 1 {
			t.Errorf("the witness voted in epoch %d", s.Ballot.Promised)
		}
		r, err := f.nodes["eu-1"].FailoverWithin(f.t.Context(), "eu", 10000)
		if err != nil || !strings.Contains(r.Loss, "at most 9999 acknowledged commands are lost") &&
			!strings.Contains(r.Loss, "at most 10000 acknowledged commands are lost") {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestARegionThatLostItsBallotIsNotMadePrimary: nobody would have voted for its epoch, and eu would go on beside it, or
// come back. If the others are lost for good, it is recovered.
func TestARegionThatLostItsBallotIsNotMadePrimary(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.kill("eu-1")
		f.nodes["eu-1"].disk = freshDisk()
		f.start("eu-1")
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
		if r, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); !errors.Is(err, replication.ErrHandoff) {
			t.Errorf("switched over: %+v, %v", r, err)
		}
		f.network.Cut("us-1", "eu-1")
		if r, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); !errors.Is(err, replication.ErrRejected) {
			t.Errorf("forced: %+v, %v", r, err)
		}
		f.put("us-1", "lost")
		f.kill("us-1")
		if r, err := f.nodes["eu-1"].Voting().Recover(f.t.Context(), "eu"); err != nil || !r.Lossy {
			t.Errorf("recovered: %+v, %v", r, err)
		}
		f.put("eu-1", "c2")
	})
}

// TestPrioritiesOutlastARecovery, and so do the other rules that somebody changed: who votes again has the priority
// that it had, and not that of its configuration; also who is removed and added.
func TestPrioritiesOutlastARecovery(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.change("us-1", replication.VoteChange{
			Priorities: map[string]uint8{"us": 3, "eu": 7}, Failback: new(time.Hour), FlapMoves: new(uint32(5)),
		})
		f.change("us-1", replication.VoteChange{Remove: "eu", Add: "eu"})
		priorities := func(c *replication.Charter) (got [2]uint8) {
			for _, v := range c.Voters {
				if i := slices.Index([]string{"us", "eu"}, v.ID); i >= 0 {
					got[i] = v.Priority
				}
			}
			return got
		}
		f.within(time.Minute, "eu votes again, as before", func() bool {
			return priorities(f.witness.State().Charter()) == [2]uint8{3, 7}
		})
		f.change("us-1", replication.VoteChange{Priorities: map[string]uint8{"us": 0}})
		for range 2 { // it may be ordered again
			if _, err := f.nodes["us-1"].Voting().Recover(f.t.Context(), "us"); err != nil {
				t.Fatal(err)
			}
		}
		if s := f.nodes["us-1"].Voting().Status(); !maps.Equal(s.Priorities, map[string]uint8{"eu": 7}) {
			t.Errorf("of those who do not vote: %v", s.Priorities)
		}
		set := replication.DefaultVotes()
		set.Automatic = false
		var c *replication.Charter
		f.within(time.Minute, "votes are taken again", func() bool {
			var err error
			c, err = f.nodes["us-1"].Voting().Enable(f.t.Context(), set)
			return err == nil
		})
		if priorities(c) != [2]uint8{0, 7} || c.Failback != time.Hour || c.Bound().Moves != 5 || c.Priorities != nil {
			t.Errorf("%+v", c)
		}
	})
}

// TestAHoldOfARecoveredRegionEndsBeforeOthersVote: its charter has no ceiling, and who votes next has to know up to
// where was acknowledged meanwhile, whatever its settings are then.
func TestAHoldOfARecoveredRegionEndsBeforeOthersVote(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		orders := f.nodes["us-1"].Voting()
		if _, err := orders.Recover(f.t.Context(), "us"); err != nil {
			t.Fatal(err)
		}
		if _, err := orders.Hold(f.t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c1")
		set := replication.DefaultVotes()
		set.StopWrites, set.Witnesses = true, map[string][]string{"w2": {"w2"}}
		f.witness.Shutdown()
		f.disk = freshDisk()
		f.startWitnessAs("w2")
		if _, err := orders.Enable(f.t.Context(), set); !errors.Is(err, replication.ErrRejected) ||
			!strings.Contains(err.Error(), "us is held until") {
			t.Errorf("enabled in a hold: %v", err)
		}
		ended, err := orders.Hold(f.t.Context(), 0)
		if err != nil || ended.Under.Position == 0 {
			t.Fatalf("the end of it: %+v, %v", ended, err)
		}
		var c *replication.Charter
		f.within(time.Minute, "votes are taken again", func() bool {
			c, err = orders.Enable(f.t.Context(), set)
			return err == nil
		})
		if c.Under != ended.Under || c.Hold != nil {
			t.Errorf("up to %+v was acknowledged, and who votes is told %+v", ended.Under, c.Under)
		}
	})
}
