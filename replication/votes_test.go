package replication_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/witness"
)

// voting is inBubble of a fleet that votes about its primary.
func voting(t *testing.T, regions map[string]int, set func(*replication.VoteSettings), body func(f *testFleet)) {
	shape := func(c *replication.Config) {
		s := replication.DefaultVotes()
		if set != nil {
			set(&s)
		}
		c.Clock, c.Votes = clock.Unsuspended, &s
	}
	shaped(t, regions, shape, func(f *testFleet) {
		f.holds("us")
		body(f)
	})
}

// holds waits until the leader of region has a lease that all voters know of, and returns its name.
func (f *testFleet) holds(region string) string {
	f.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		for _, name := range f.regions[region] {
			if n := f.nodes[name]; n.up.Load() && n.IsLeader() {
				if s := n.Voting().Status(); s != nil && s.Holds && s.Charter > 0 {
					return name
				}
			}
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("region %s has no lease", region)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// tryPut writes at a node, and returns where, if it was acknowledged within d.
func (f *testFleet) tryPut(node, value string, d time.Duration) (*replication.Receipt, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	return f.nodes[node].Propose(ctx, []*replication.Command{{Data: []byte(value)}})
}

// putAfter writes at a node after another one was killed. What had been forwarded to that one has an unknown outcome,
// and was written nowhere.
func (f *testFleet) putAfter(node, value string) *replication.Receipt {
	f.t.Helper()
	for {
		r, err := f.tryPut(node, value, 30*time.Second)
		if err == nil {
			return r
		}
		if !errors.Is(err, replication.ErrUnknownOutcome) {
			f.t.Fatalf("put %s at %s: %v", value, node, err)
		}
	}
}

func TestALostPrimaryIsFollowedByAnother(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.kill("us-1")
		began := time.Now()
		r := f.putAfter("eu-1", "c10")
		if took := time.Since(began); r.Epoch < 2 || took > 6*time.Second {
			t.Errorf("epoch %d after %v", r.Epoch, took)
		}
		t.Logf("the first write after %v", time.Since(began))
		f.start("us-1")
		f.put("us-1", "c11")
		f.eventually(values(0, 12))
	})
}

// TestACutOffPrimaryIsFencedBeforeAnotherBegins: what it acknowledges and confirms ends before the other does
// anything.
func TestACutOffPrimaryIsFencedBeforeAnotherBegins(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.Isolate("us-1")
		cut := time.Now()
		var last time.Time // that the old primary acknowledged anything, a write or a read
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; time.Since(cut) < 8*time.Second; i++ {
				time.Sleep(20 * time.Millisecond)
				ctx, cancel := context.WithTimeout(f.t.Context(), 100*time.Millisecond)
				if f.nodes["us-1"].ReadBarrier(ctx, replication.Linearizable) == nil {
					last = time.Now()
				}
				cancel()
				if _, err := f.tryPut("us-1", fmt.Sprintf("lost%d", i), 100*time.Millisecond); err == nil {
					last = time.Now()
				}
			}
		}()
		var r *replication.Receipt
		for time.Since(cut) < time.Minute {
			var err error
			if r, err = f.tryPut("eu-1", "c1", time.Second); err == nil {
				break
			}
		}
		first := time.Now()
		<-done
		if r == nil || r.Epoch != 2 || !last.Before(first) || last.Before(cut) {
			t.Errorf("%+v; the old primary answered %v after the cut, the new one %v", r, last.Sub(cut),
				first.Sub(cut))
		}
		t.Logf("the old primary answered until %v after the cut, the new one after %v", last.Sub(cut), first.Sub(cut))
		f.network.HealAll()
		f.eventually(values(0, 2))
		tails, err := f.nodes["us-1"].Tails(f.t.Context())
		if err != nil || len(tails) != 1 || tails[0].Fork != 1 {
			t.Errorf("tails %+v, %v", tails, err)
		}
	})
}

// TestAPrimaryTakesNoWritesBehindItsLease, not even to answer them later: they would be a tail.
func TestAPrimaryTakesNoWritesBehindItsLease(t *testing.T) {
	long := func(s *replication.VoteSettings) { s.Lease = 24 * time.Second }
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, long, func(f *testFleet) {
		f.network.Isolate("us-1")
		f.within(time.Minute, "the lease ends", func() bool { return !f.nodes["us-1"].Voting().Status().Holds })
		time.Sleep(5 * time.Millisecond)
		if tenure := f.nodes["us-1"].Tenure(); tenure != (replication.Tenure{}) {
			t.Errorf("takes writes in %+v", tenure)
		}
	})
}

// TestAnotherLeaderOfThePrimaryGoesOn: a region whose leader dies keeps the primary, if the next one is elected within
// the lease. The two that are left may split their votes a few times first.
func TestAnotherLeaderOfThePrimaryGoesOn(t *testing.T) {
	long := func(s *replication.VoteSettings) { s.Lease = 12 * time.Second }
	voting(t, map[string]int{"us": 3, "eu": 1, "ap": 1}, long, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill(f.holds("us"))
		f.holds("us")
		if r := f.putAfter("eu-1", "c1"); r.Epoch != 1 {
			t.Errorf("epoch %d", r.Epoch)
		}
	})
}

// TestASwitchoverIsVotedFor, and loses nothing.
func TestASwitchoverIsVotedFor(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		f.put("us-1", "c0")
		r, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu")
		if err != nil || r.Epoch != 2 || r.Lossy {
			t.Fatalf("%+v, %v", r, err)
		}
		t.Logf("writes paused for %v", r.Pause)
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
	})
}

// TestWhoHoldsLessDoesNotTakeOver, and says why; an operator can move the primary to who holds more.
func TestWhoHoldsLessDoesNotTakeOver(t *testing.T) {
	shape := func(c *replication.Config) {
		s := replication.DefaultVotes()
		if c.Clock, c.Votes = clock.Unsuspended, &s; c.RegionID == "ap" {
			c.Priority = replication.NeverPrimary
		}
	}
	shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, shape, func(f *testFleet) {
		f.holds("us")
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.Cut("us-1", "eu-1")
		f.put("us-1", "c1")
		if err := f.nodes["ap-1"].WaitPosition(f.t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		f.kill("us-1")
		f.saysWhy("eu-1", "ap holds epoch 1 up to position 2")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); !errors.Is(err, replication.ErrNotReady) {
			t.Errorf("forced to who holds less: %v", err)
		}
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "ap", true); err != nil {
			t.Fatal(err)
		}
		f.putAfter("eu-1", "c2")
	})
}

// TestAPrimaryThatIsHeardAndHearsNothing is not supported for ever: it is fenced, and another one takes over.
func TestAPrimaryThatIsHeardAndHearsNothing(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.CutOneWay("eu-1", "us-1")
		f.network.CutOneWay("ap-1", "us-1")
		cut := time.Now()
		for time.Since(cut) < time.Minute {
			if r, err := f.tryPut("ap-1", "c1", time.Second); err == nil && r.Epoch > 1 {
				break
			}
		}
		if took := time.Since(cut); took > 12*time.Second {
			t.Errorf("another region takes writes after %v", took)
		}
		f.network.HealAll()
		if err := f.nodes["us-1"].WaitPosition(f.t.Context(), 2); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingMovesWhileItIsPaused, but by order.
func TestNothingMovesWhileItIsPaused(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		f.put("us-1", "c0")
		if _, err := f.nodes["eu-1"].Voting().Pause(f.t.Context(), "an upgrade"); err != nil {
			t.Fatal(err)
		}
		f.eventually(values(0, 1))
		for f.nodes["eu-1"].Voting().Status().Paused == "" || f.nodes["ap-1"].Voting().Status().Paused == "" {
			time.Sleep(50 * time.Millisecond)
		}
		f.kill("us-1")
		if r, err := f.tryPut("eu-1", "c1", 12*time.Second); err == nil {
			t.Errorf("moved by itself: %+v", r)
		}
		if r, err := f.nodes["ap-1"].Failover(f.t.Context(), "eu", true); err != nil || r.Epoch < 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		f.put("eu-1", "c2")
	})
}

// TestWhereNothingMayBeLost, a write is acknowledged when another region has it, and not before.
func TestWhereNothingMayBeLost(t *testing.T) {
	none := func(s *replication.VoteSettings) { s.MaxLoss = 0 }
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, none, func(f *testFleet) {
		if r := f.put("us-1", "c0"); r.Regions < 2 {
			t.Errorf("%+v", r)
		}
		f.kill("eu-1")
		f.put("us-1", "c1")
		f.network.SetDelay("us-1", "ap-1", 700*time.Millisecond, 0)
		if r, err := f.tryPut("us-1", "c2", 300*time.Millisecond); err == nil {
			t.Errorf("acknowledged before another region can have it: %+v", r)
		}
		f.kill("us-1") // and then another one goes on, since nothing that counts is lost
		f.start("eu-1")
		if r := f.putAfter("ap-1", "c3"); r.Epoch != 2 || r.Position < 3 {
			t.Errorf("after the loss of the primary: %+v", r)
		}
	})
}

// TestTwoRegionsAndAWitness: the smallest fleet that fails over by itself, with a budget.
func TestTwoRegionsAndAWitness(t *testing.T) {
	disk := vfs.NewCrashableMem()
	few := func(s *replication.VoteSettings) {
		s.MaxLoss, s.Witnesses = 4, map[string][]string{"w1": {"w1"}}
	}
	var w *witness.Witness
	shape := func(c *replication.Config) {
		s := replication.DefaultVotes()
		few(&s)
		c.Clock, c.Votes = clock.Unsuspended, &s
	}
	shaped(t, map[string]int{"us": 1, "eu": 1}, shape, func(f *testFleet) {
		starts := func() {
			var err error
			w, err = witness.Start(witness.Config{
				Name: "w1", FleetID: replication.DefaultFleetID, DataDir: "/w", FS: pebblefs.New(disk),
				Clock: clock.Unsuspended, Logger: slog.New(f.log),
			}, f.named("w1", "witness", "w1"))
			if err != nil {
				t.Fatal(err)
			}
		}
		starts()
		defer func() { w.Shutdown() }()
		f.holds("us")
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		w.Shutdown()
		starts() // a witness that comes back costs nothing
		f.kill("us-1")
		if r := f.putAfter("eu-1", "c10"); r.Epoch < 2 {
			t.Errorf("epoch %d", r.Epoch)
		}
		f.start("us-1")
		f.eventually(values(0, 11))
		// eu goes on without us, beyond the budget: us does not take over by itself then; an operator can accept it.
		f.holds("eu")
		f.network.Cut("us-1", "eu-1")
		for i := 11; i < 31; i++ {
			f.put("eu-1", fmt.Sprintf("c%d", i))
		}
		f.kill("eu-1")
		f.saysWhy("us-1", "acknowledged commands of epoch")
		f.refusesLoss("us-1", 19)
		r, err := f.nodes["us-1"].FailoverWithin(f.t.Context(), "us", 24)
		if err != nil || !strings.Contains(r.Loss, "by what a majority of the voters knows, at most 2") {
			t.Fatalf("%+v, %v", r, err)
		}
		f.putAfter("us-1", "c31")
	})
}

// TestAFleetThatLostItsVotesIsRecovered with one region, and votes again when the others are back.
func TestAFleetThatLostItsVotesIsRecovered(t *testing.T) {
	voting(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, nil, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.kill("ap-1")
		if r, err := f.tryPut("eu-1", "lost", 20*time.Second); err == nil {
			t.Errorf("without a majority: %+v", r)
		}
		r, err := f.nodes["eu-1"].Voting().Recover(f.t.Context(), "eu")
		if err != nil || r.Primary != "eu" {
			t.Fatalf("%+v, %v", r, err)
		}
		f.put("eu-1", "c1")
		f.start("us-1")
		f.start("ap-1")
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
		deadline := time.Now().Add(time.Minute)
		for {
			if _, err = f.nodes["us-1"].Voting().Enable(f.t.Context(), replication.DefaultVotes()); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		f.holds("eu")
		f.put("ap-1", "c3")
		f.kill("eu-1")
		if r := f.putAfter("us-1", "c4"); r.Epoch <= 2 {
			t.Errorf("epoch %d", r.Epoch)
		}
	})
}

// refusesLoss has a region be forced within less than may be lost.
func (f *testFleet) refusesLoss(node string, accept uint64) {
	f.t.Helper()
	r, err := f.nodes[node].FailoverWithin(f.t.Context(), f.nodes[node].region, accept)
	if !errors.Is(err, replication.ErrNotReady) ||
		!strings.Contains(err.Error(), fmt.Sprintf("would be lost, %d may be", accept)) {
		f.t.Errorf("with %d accepted: %+v, %v", accept, r, err)
	}
}

// saysWhy waits until a node says with these words why its region does not take over.
func (f *testFleet) saysWhy(node, words string) {
	f.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(f.nodes[node].Voting().Status().Why, words) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s says %q", node, f.nodes[node].Voting().Status().Why)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestAnotherLeaderKnowsWhatTheRegionsHave: what they told the one before binds the budget of the next.
func TestAnotherLeaderKnowsWhatTheRegionsHave(t *testing.T) {
	strict := func(s *replication.VoteSettings) { s.MaxLoss, s.StopWrites = 3, true }
	voting(t, map[string]int{"us": 3, "eu": 1, "ap": 1}, strict, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		time.Sleep(5 * time.Second) // what is saved of the regions says so
		was := f.holds("us")
		for i := range 12 {
			f.put(was, fmt.Sprintf("c%d", i+1))
		}
		f.eventually(values(0, 13))
		next := "us-1"
		if was == next {
			next = "us-2"
		}
		if err := f.nodes[was].TransferLeader(f.t.Context(), f.nodes[next].Health().RaftID); err != nil {
			f.t.Fatal(err)
		}
		f.put(f.holds("us"), "c13")
		f.eventually(values(0, 14))
	})
}
