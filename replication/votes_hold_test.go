package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// holdFor orders a hold at eu, and waits until eu keeps it as well as the witness.
func (f *smallest) holdFor(d time.Duration) {
	f.t.Helper()
	if _, err := f.nodes["eu-1"].Voting().Hold(f.t.Context(), d); err != nil {
		f.t.Fatal(err)
	}
	f.within(30*time.Second, "both keep the hold", func() bool {
		s := f.nodes["us-1"].Voting().Status()
		any := replication.Position(replication.AnyLoss)
		return s.Ceiling == any && !f.nodes["eu-1"].Voting().Status().HeldUntil.IsZero()
	})
}

// TestAHeldPrimaryGoesOnAlone for as long as was said, nothing moves meanwhile, and afterwards all is as before.
func TestAHeldPrimaryGoesOnAlone(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		began := time.Now()
		f.holdFor(2 * time.Minute)
		f.says("us-1", "us", "")
		f.kill("eu-1")
		f.witness.Shutdown()
		time.Sleep(time.Minute)
		f.put("us-1", "c1")
		f.startWitness()
		f.start("eu-1")
		f.eventually(values(0, 2))
		_, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu")
		if !errors.Is(err, replication.ErrRejected) || !strings.Contains(err.Error(), "mimir fleet hold --end first") {
			t.Errorf("switchover: %v", err)
		}
		_, err = f.nodes["us-1"].Voting().Change(f.t.Context(), replication.VoteChange{Remove: "eu"})
		if !errors.Is(err, replication.ErrRejected) || !strings.Contains(err.Error(), "us is held until") {
			t.Errorf("a voter less: %v", err)
		}
		f.within(2*time.Minute, "it is over", func() bool {
			return f.nodes["us-1"].Voting().Status().HeldUntil.IsZero()
		})
		if took := time.Since(began); took < 2*time.Minute || took > 2*time.Minute+5*time.Second {
			t.Errorf("held for %v", took)
		}
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
		f.within(30*time.Second, "a bound again", func() bool {
			return f.nodes["us-1"].Voting().Status().Ceiling < 1<<40
		})
		f.within(30*time.Second, "the voters know that it is over", func() bool {
			return f.nodes["eu-1"].Voting().Status().HeldUntil.IsZero() && f.witness.State().Charter().Hold == nil
		})
		f.kill("us-1")
		lost := time.Now()
		f.putAfter("eu-1", "c3")
		if took := time.Since(lost); took > 8*time.Second {
			t.Errorf("took over after %v", took)
		}
		f.start("us-1")
		f.eventually(values(0, 4))
	})
}

// TestAHoldEndsByOrder, and then the primary moves by itself as before.
func TestAHoldEndsByOrder(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.holdFor(time.Hour)
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
		if _, err := f.nodes["eu-1"].Voting().Hold(f.t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.nodes["eu-1"].Voting().Hold(f.t.Context(), 0); !errors.Is(err, replication.ErrRejected) {
			t.Errorf("ended twice: %v", err)
		}
		f.within(30*time.Second, "all know", func() bool {
			return f.nodes["eu-1"].Voting().Status().HeldUntil.IsZero() && f.witness.State().Charter().Hold == nil
		})
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
		f.kill("us-1")
		lost := time.Now()
		f.putAfter("eu-1", "c3")
		if took := time.Since(lost); took > 8*time.Second {
			t.Errorf("took over after %v", took)
		}
	})
}

// TestAPrimaryThatIsLostInAHold is followed by nobody before it is over, and afterwards by order alone: there was no
// bound to what it acknowledged.
func TestAPrimaryThatIsLostInAHold(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.holdFor(2 * time.Minute)
		f.kill("us-1")
		f.says("eu-1", "eu", "does not take over: us is held until 2000-01-01T00:0")
		_, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true)
		if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "holds us for") {
			t.Errorf("forced: %v", err)
		}
		time.Sleep(2 * time.Minute)
		f.says("eu-1", "eu", "any number of acknowledged commands of epoch 1 would be lost, 10000 may be")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "c1")
		f.start("us-1")
		f.eventually(values(0, 2))
		if s := f.nodes["eu-1"].Voting().Status(); !s.HeldUntil.IsZero() {
			t.Errorf("the next primary is held until %v", s.HeldUntil)
		}
	})
}

// TestWhatCannotBeHeld is refused, with the reason.
func TestWhatCannotBeHeld(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		hold := func(d time.Duration, want error, text string) {
			t.Helper()
			_, err := f.nodes["eu-1"].Voting().Hold(f.t.Context(), d)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				t.Errorf("held for %v: %v", d, err)
			}
		}
		hold(time.Second, replication.ErrArgument, "more than the lease, 3s")
		hold(25*time.Hour, replication.ErrArgument, "at most 24h")
		hold(0, replication.ErrRejected, "not held")
		f.change("us-1", replication.VoteChange{MaxLoss: new(uint64)})
		hold(time.Minute, replication.ErrArgument, "a hold would hold nothing")
	})
}

// TestAnEndThatWaitsForVoters: while a hold is all that the primary goes on by, it does not end by order, and the
// primary goes on; it ends as soon as a majority is back.
func TestAnEndThatWaitsForVoters(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.holdFor(time.Hour)
		f.kill("eu-1")
		f.witness.Shutdown()
		time.Sleep(time.Minute)
		_, err := f.nodes["us-1"].Voting().Hold(f.t.Context(), 0)
		if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "ends by itself as soon as") {
			t.Errorf("ended while nobody answers: %v", err)
		}
		time.Sleep(time.Minute)
		f.put("us-1", "c1")
		if s := f.nodes["us-1"].Voting().Status(); s.Fenced || !s.HeldEnds || s.HeldLeft == 0 {
			t.Errorf("%+v", s)
		}
		f.startWitness()
		f.within(30*time.Second, "it has ended", func() bool {
			s := f.nodes["us-1"].Voting().Status()
			return s.HeldUntil.IsZero() && !s.HeldEnds && s.Holds
		})
		f.put("us-1", "c2")
		f.start("eu-1")
		f.eventually(values(0, 3))
	})
}

// TestWhatIsOrderedInAHoldThatIsAllThereIs does not fence the primary: neither another hold, nor the end of it, nor
// another rule; also not where the others were heard a moment ago. Another hold takes the place of this one when a
// majority is back.
func TestWhatIsOrderedInAHoldThatIsAllThereIs(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.holdFor(time.Hour)
		f.kill("eu-1")
		f.witness.Shutdown()
		for range 2 {
			for d, want := range map[time.Duration]string{
				2 * time.Hour: "with another hold, which they cannot promise, it would acknowledge nothing",
				time.Minute:   "no majority of the voters answers (not eu, witness/w1)", 0: "ends by itself as soon as",
			} {
				_, err := f.nodes["us-1"].Voting().Hold(f.t.Context(), d)
				if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), want) {
					t.Errorf("a hold of %v: %v", d, err)
				}
			}
			change := replication.VoteChange{Patience: new(time.Duration)}
			_, err := f.nodes["us-1"].Voting().Change(f.t.Context(), change)
			if !errors.Is(err, replication.ErrUnknownOutcome) {
				t.Errorf("another rule: %v", err)
			}
			time.Sleep(10 * time.Second)
			s := f.nodes["us-1"].Voting().Status()
			if s.Fenced || s.HeldLeft < 59*time.Minute {
				t.Fatalf("%+v", s)
			}
		}
		f.says("us-1", "us", "now it goes on by that alone")
		f.put("us-1", "c1")
		f.startWitness()
		f.within(30*time.Second, "the end that was ordered", func() bool {
			return f.nodes["us-1"].Voting().Status().HeldUntil.IsZero()
		})
		for _, d := range []time.Duration{time.Hour, 2 * time.Minute} {
			if _, err := f.nodes["us-1"].Voting().Hold(f.t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		f.witness.Shutdown()
		time.Sleep(time.Minute)
		s := f.nodes["us-1"].Voting().Status()
		if s.Fenced || s.HeldLeft > 61*time.Second || s.HeldLeft < 30*time.Second {
			t.Errorf("%+v", s)
		}
		f.start("eu-1")
		f.eventually(values(0, 2))
	})
}

// TestAHoldIsNotBegunAnew by a witness that is started again in it, nor by a region: when it is over, and as much again
// as is between two notes of a voter, another region is made primary.
func TestAHoldIsNotBegunAnew(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		began := time.Now()
		f.holdFor(10 * time.Minute)
		f.kill("us-1")
		time.Sleep(8 * time.Minute)
		f.witness.Shutdown()
		f.startWitness()
		f.kill("eu-1")
		f.start("eu-1")
		f.says("eu-1", "eu", "does not take over: us is held until 2000-01-01T00:1")
		f.says("eu-1", "eu", "more at most as eu counts")
		time.Sleep(time.Until(began.Add(10*time.Minute + 30*time.Second)))
		if s := f.nodes["eu-1"].Voting().Status(); s.HeldUntil.IsZero() || s.HeldLeft != 0 {
			t.Errorf("when it is over: %+v", s)
		}
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "c1")
		f.start("us-1")
		f.eventually(values(0, 2))
	})
}

// TestAHoldWithOlderNodes is as they know it, and is not counted: one that starts anew waits for all of it again.
func TestAHoldWithOlderNodes(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.kill("eu-1")
		before := f.adapt
		f.adapt = func(c *replication.Config) {
			before(c)
			if c.NodeID == "eu-1" {
				c.EntryLevel = new(timeline.LevelHold)
			}
		}
		f.start("eu-1")
		f.eventually(values(0, 1))
		time.Sleep(10 * time.Second) // reports come once in a while
		if c, err := f.nodes["us-1"].Voting().Hold(f.t.Context(), 10*time.Minute); err != nil || c.Hold.Counted {
			t.Fatalf("%+v, %v", c, err)
		}
		f.within(time.Minute, "eu keeps it", func() bool {
			return !f.nodes["eu-1"].Voting().Status().HeldUntil.IsZero()
		})
		f.kill("us-1")
		time.Sleep(8 * time.Minute)
		f.kill("eu-1")
		f.start("eu-1")
		f.says("eu-1", "eu", "waits for the whole length of the hold again")
		f.within(time.Minute, "and it does", func() bool {
			return f.nodes["eu-1"].Voting().Status().HeldLeft > 8*time.Minute
		})
	})
}
