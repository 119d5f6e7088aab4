package replication_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// change changes the charter by a node, and returns it.
func (f *testFleet) change(node string, c replication.VoteChange) *replication.Charter {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		charter, err := f.nodes[node].Voting().Change(f.t.Context(), c)
		if err == nil {
			return charter
		}
		if time.Now().After(deadline) || !errors.Is(err, replication.ErrNotReady) {
			f.t.Fatalf("change %+v: %v", c, err)
		}
	}
}

// says waits until the picture of a node has a text among what it says of a region, and of the fleet.
func (f *testFleet) says(node, region, text string) {
	f.t.Helper()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		picture := f.nodes[node].Fleet(f.t.Context())
		last = strings.Join(append(picture.Warnings, picture.Notes...), "\n")
		for _, r := range picture.Regions {
			if r.Name == region {
				last += "\n" + r.Problem
			}
		}
		if strings.Contains(last, text) {
			return
		}
	}
	f.t.Fatalf("%s says of %s %q, want %q", node, region, last, text)
}

// TestAPrimaryThatMovedTooOftenStays, also after all that remember it were started again, and says why; who orders a
// failover is not kept, and what a witness did not answer is warned of.
func TestAPrimaryThatMovedTooOftenStays(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.change("us-1", replication.VoteChange{FlapMoves: new(uint32(1)), FlapWithin: new(time.Hour)})
		f.kill("us-1")
		f.putAfter("eu-1", "c1")
		f.start("us-1")
		f.eventually(values(0, 2))
		f.says("us-1", "us", "the primary moved by itself once within 1h")
		f.witness.Shutdown()
		f.says("us-1", "us", "witness/w1 has not supported the primary for")
		f.startWitness()
		f.kill("us-1")
		said := &lines{count: map[string]int{}}
		f.log = said
		f.start("us-1")
		f.eventually(values(0, 2))
		f.kill("eu-1")
		f.says("us-1", "us", "does not take over: the primary moved by itself once within 1h, and does not again")
		s := f.nodes["us-1"].Voting().Status()
		if len(s.Moves) != 1 || s.Moves[0].Epoch != 2 || s.KeptUntil.Before(time.Now().Add(50*time.Minute)) {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Minute)
		if s := f.nodes["us-1"].Health(); s.Epoch != 2 {
			t.Errorf("took over: %+v", s)
		}
		said.atMost(t, 6, "does not take over") // of a few reasons, each once and a minute later
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c2")
		f.start("eu-1")
		f.eventually(values(0, 3))
	})
}

// TestAPreferredRegionComesBackByItself, when it kept up for as long as was said, and nothing is lost.
func TestAPreferredRegionComesBackByItself(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.change("us-1", replication.VoteChange{
			Failback: new(20 * time.Second), Priorities: map[string]uint8{"us": 200},
		})
		f.kill("us-1")
		f.putAfter("eu-1", "c1")
		f.start("us-1")
		back := time.Now()
		f.says("eu-1", "eu", "us, of priority 200, takes over by a switchover at")
		f.holds("us")
		if took := time.Since(back); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("came back after %v", took)
		}
		f.put("eu-1", "c2")
		f.eventually(values(0, 3))
		s := f.nodes["us-1"].Voting().Status()
		if h := f.nodes["us-1"].Health(); h.Epoch != 3 || len(s.Moves) != 2 {
			t.Errorf("epoch %d, moves %v", h.Epoch, s.Moves)
		}
		for _, node := range []string{"us-1", "eu-1"} {
			if tails, err := f.nodes[node].Tails(f.t.Context()); err != nil || len(tails) != 0 {
				t.Errorf("%s: tails %+v, %v", node, tails, err)
			}
		}
	})
}

// upon is a log that does something as soon as a message comes.
type upon struct {
	*lines
	message string
	do      func()
}

func (u upon) WithAttrs([]slog.Attr) slog.Handler { return u }
func (u upon) WithGroup(string) slog.Handler      { return u }
func (u upon) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == u.message {
		u.do()
	}
	return u.lines.Handle(ctx, r)
}

// TestAFailbackThatFailedIsNoMove, also once the primary moves by order in the epoch that was meant to begin by it.
func TestAFailbackThatFailedIsNoMove(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		said := &lines{count: map[string]int{}}
		f.log = upon{said, "switches over to a region of a higher priority", func() {
			f.network.Isolate("us-1")
			f.network.Isolate("w1")
		}}
		f.stop("eu-1")
		f.start("eu-1")
		f.change("us-1", replication.VoteChange{
			Failback: new(20 * time.Second), Priorities: map[string]uint8{"us": 200},
		})
		f.kill("us-1")
		f.putAfter("eu-1", "c1")
		f.start("us-1")
		f.within(time.Minute, "that fails", func() bool { return said.of("not switched over") > 0 })
		number := func() uint64 { return f.nodes["eu-1"].Voting().Status().Charter }
		failed := number() // and while it has no lease, it writes no other
		f.witness.Shutdown()
		f.startWitness() // which votes for nobody at once
		f.network.HealAll()
		f.within(15*time.Second, "it is struck", func() bool { return number() > failed })
		f.within(15*time.Second, "an order moves the primary", func() bool {
			_, err := f.nodes["eu-1"].Switchover(f.t.Context(), "us")
			return err == nil
		})
		f.eventually(values(0, 2))
		s := f.nodes["eu-1"].Voting().Status() // which took part in all of it
		if h := f.nodes["us-1"].Health(); h.Epoch != 3 || len(s.Moves) != 1 || s.Moves[0].Epoch != 2 {
			t.Errorf("epoch %d, moves %v", h.Epoch, s.Moves)
		}
	})
}

// TestALeaseIsLoweredInTwoSteps: who starts anew waits for what it may have promised by the longer one, until every
// voter promises by the lower one and the longest promise before is over; then by the lower one.
func TestALeaseIsLoweredInTwoSteps(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		long, short := 30*time.Second, 2*time.Second
		f.change("us-1", replication.VoteChange{Lease: &long})
		f.change("us-1", replication.VoteChange{Lease: &short})
		again := func() {
			f.witness.Shutdown()
			f.startWitness()
		}
		began := time.Now()
		again()
		f.kill("eu-1")
		f.start("eu-1")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.within(time.Minute, "eu takes over", func() bool { return f.lastReign("eu-1").Epoch == 2 })
		if took := time.Since(began); took < 29*time.Second || took > 40*time.Second {
			t.Errorf("with voters that may have promised for %v it took %v", long, took)
		}
		f.putAfter("eu-1", "c1")
		former := func() time.Duration { return f.nodes["eu-1"].Voting().Status().Former }
		f.holds("eu")
		time.Sleep(time.Minute)
		if former() != long {
			t.Errorf("while a voter is silent, %v is left", former())
		}
		f.start("us-1")
		back := time.Now()
		f.eventually(values(0, 2))
		f.within(time.Minute, "the former lease is over", func() bool { return former() == 0 })
		if took := time.Since(back); took < long {
			t.Errorf("it is over after %v", took)
		}
		time.Sleep(short) // the others hear of it
		again()
		f.kill("eu-1")
		began = time.Now()
		f.putAfter("us-1", "c2")
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("with voters that cannot have it took %v", took)
		}
		f.start("eu-1")
		f.eventually(values(0, 3))
	})
}

// TestARegionOfPriorityZeroIsPrimaryByOrderAlone: neither by itself nor by a failback, and who orders it is told.
func TestARegionOfPriorityZeroIsPrimaryByOrderAlone(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.change("us-1", replication.VoteChange{
			Priorities: map[string]uint8{"eu": 0}, Failback: new(10 * time.Second),
		})
		told := func(r *replication.MoveReport, err error) {
			t.Helper()
			if err != nil || len(r.Warnings) == 0 || !strings.Contains(strings.Join(r.Warnings, "\n"),
				"region eu has priority 0: it becomes primary by order alone") {
				t.Errorf("%+v, %v", r, err)
			}
		}
		told(f.nodes["us-1"].Switchover(f.t.Context(), "eu"))
		f.holds("us") // which has a higher one, and comes back
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.says("eu-1", "eu", "does not take over: eu has priority 0")
		time.Sleep(time.Minute)
		if h := f.nodes["eu-1"].Health(); h.Epoch != 3 {
			t.Errorf("took over by itself: epoch %d", h.Epoch)
		}
		told(f.nodes["eu-1"].Failover(f.t.Context(), "eu", true))
		f.start("us-1")
		f.eventually(values(0, 1))
	})
}

// TestAPolicyWaitsForOlderNodes: what one of them does not know is not written, by whatever node it is ordered.
func TestAPolicyWaitsForOlderNodes(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		now := f.adapt
		again := func(adapt func(*replication.Config)) {
			f.kill("eu-1")
			f.adapt = adapt
			f.start("eu-1")
			f.eventually(values(0, 1))
			time.Sleep(10 * time.Second) // reports come once in a while
		}
		again(func(c *replication.Config) {
			now(c)
			c.EntryLevel = new(timeline.LevelBallots)
		})
		short := 2 * time.Second
		for _, c := range []replication.VoteChange{{FlapMoves: new(uint32(5))}, {Failback: &short}, {Lease: &short}} {
			_, err := f.nodes["us-1"].Voting().Change(f.t.Context(), c)
			if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "too old: upgrade all") {
				t.Errorf("%+v: %v", c, err)
			}
		}
		f.change("us-1", replication.VoteChange{Patience: &short}) // which it knows
		if s := f.nodes["us-1"].Voting().Status(); s.Charter != 2 || s.Lease != 3*time.Second || s.FlapMoves != 3 {
			t.Errorf("then it is %+v", s)
		}
		again(now)
		f.change("eu-1", replication.VoteChange{Failback: &short})
	})
}
