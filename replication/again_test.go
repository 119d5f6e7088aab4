package replication_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// thereAndBack moves us to eu and back, so that epoch 3 is us's own, and stops everybody. us forgets it.
func (f *testFleet) thereAndBack() {
	f.put("us-1", "c0")
	for _, to := range []string{"eu", "us"} {
		if _, err := f.nodes["eu-1"].Switchover(f.t.Context(), to); err != nil {
			f.t.Fatal(err)
		}
	}
	f.put("us-1", "c1")
	f.eventually(values(0, 2))
	for _, name := range f.names() {
		f.kill(name)
	}
	f.nodes["us-1"].disk = vfs.NewCrashableMem()
}

// lines counts what is logged.
type lines struct {
	mu    sync.Mutex
	count map[string]int // by message
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[r.Message]++
	l.count[""]++
	return nil
}

// of returns how often a message was logged.
func (l *lines) of(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[message]
}

// atMost checks how often a message was logged; "" stands for all of them.
func (l *lines) atMost(t *testing.T, most int, message string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.count[message]; n == 0 || n > most {
		t.Errorf("%d lines %q: %v", n, message, l.count)
	}
}

// takesNothing checks that nodes answer neither writes nor linearizable reads, for as long as they are asked, all at
// once.
func (f *testFleet) takesNothing(names ...string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	var asking sync.WaitGroup
	for _, name := range names {
		n := f.nodes[name]
		asking.Go(func() {
			if r, err := n.Propose(ctx, []*replication.Command{{Data: []byte("x")}}); err == nil {
				f.t.Errorf("%s took a write: %+v", name, r)
			}
		})
		asking.Go(func() {
			if err := n.ReadBarrier(ctx, replication.Linearizable); !errors.Is(err, replication.ErrNotReady) {
				f.t.Errorf("%s answered a read: %v", name, err)
			}
		})
	}
	if asking.Wait(); f.t.Failed() {
		f.t.FailNow()
	}
}

// TestARegionThatLostItsHistoryBeginsNoOther: while somebody who may have it does not answer, nor when he does.
func TestARegionThatLostItsHistoryBeginsNoOther(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.thereAndBack()
		said := &lines{count: map[string]int{}}
		f.log = said
		f.start("us-1")
		f.takesNothing("us-1")
		f.fleetSays("us-1", "us", "begins one when eu has said that it has none either")
		if h := f.nodes["us-1"].Health(); h.Healthy || !strings.Contains(h.Problem, "failover --to us --force") {
			t.Errorf("health %+v", h)
		}
		f.start("eu-1")
		f.fleetSays("us-1", "us", "eu has it up to position 2: mimir failover --to eu --force")
		f.takesNothing("us-1", "eu-1")
		said.atMost(t, 2, "cannot act") // once for each that it waits for
		said.atMost(t, 100, "")
		if r, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); !errors.Is(err, replication.ErrRejected) {
			t.Fatalf("a region that holds nothing took over: %+v, %v", r, err)
		}
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
	})
}

// TestASecondHistoryIsATail: an operator let us begin without eu, which holds what us forgot. What us took since is
// saved, and us rejoins.
func TestASecondHistoryIsATail(t *testing.T) {
	for _, size := range []int{1, 3} {
		inBubble(t, map[string]int{"us": size, "eu": 1}, func(f *testFleet) {
			f.thereAndBack()
			for _, name := range f.regions["us"] {
				f.nodes[name].disk = vfs.NewCrashableMem()
				f.start(name)
			}
			if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", false); !errors.Is(err,
				replication.ErrNeedsForce) {
				t.Fatalf("not forced: %v", err)
			}
			if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); err != nil {
				t.Fatal(err)
			}
			f.put("us-1", "anew")
			f.start("eu-1")
			f.fleetSays("us-1", "us", "eu has it up to position 2: mimir failover --to eu --force")
			f.takesNothing("us-1", "eu-1")
			if _, err := f.nodes["us-1"].Failover(f.t.Context(), "eu", true); err != nil {
				t.Fatal(err)
			}
			f.put("eu-1", "c2")
			f.eventually(values(0, 3))
			for _, name := range f.regions["us"] {
				f.hasTail(name, "anew")
			}
		})
	}
}

// hasTail checks that a node has one tail, with these commands.
func (f *testFleet) hasTail(name string, want ...string) {
	f.t.Helper()
	tails, err := f.nodes[name].Tails(f.t.Context())
	if err != nil || len(tails) != 1 {
		f.t.Fatalf("%s: tails %+v, %v", name, tails, err)
	}
	var got []string
	err = f.nodes[name].ReadTail(f.t.Context(), tails[0].Name,
		func(_ replication.Epoch, _ replication.Position, c replication.Command) error {
			got = append(got, string(c.Data))
			return nil
		})
	if err != nil || !slices.Equal(got, want) {
		f.t.Fatalf("%s: tail %v, %v", name, got, err)
	}
}

// TestAFleetIsFormedWithoutARegionByAWord: one that does not come up on the first day.
func TestAFleetIsFormedWithoutARegionByAWord(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.stopAll()
		for _, name := range f.names() {
			f.nodes[name].disk = vfs.NewCrashableMem()
		}
		f.start("us-1")
		f.start("eu-1")
		f.takesNothing("us-1")
		f.fleetSays("us-1", "us", "begins one when ap has said that it has none either")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "us", true); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c0")
		f.start("ap-1")
		f.eventually(values(0, 1))
	})
}

// TestAFleetIsFormedByAnOrderOnce: where no region forms one by itself, each waits and says for whom, also one alone
// and one whose disks are gone; and while somebody who may have the history does not answer, no order forms it again.
func TestAFleetIsFormedByAnOrderOnce(t *testing.T) {
	exists := func(c *replication.Config) { c.FleetExists = true }
	shaped(t, map[string]int{"us": 1, "eu": 1}, exists, func(f *testFleet) {
		f.takesNothing("us-1")
		f.fleetSays("eu-1", "us", "waits for a fleet that it can join: no region that answers has one either")
		if h := f.nodes["eu-1"].Health(); h.Healthy || !strings.Contains(h.Problem, "mimir fleet init") {
			f.t.Errorf("health %+v", h)
		}
		r, err := f.nodes["eu-1"].Found(f.t.Context(), "us")
		if err != nil || r.Primary != "us" || r.Epoch != 1 || r.Lossy {
			f.t.Fatalf("formed %+v, %v", r, err)
		}
		f.put("eu-1", "c0")
		f.eventually(values(0, 1))
		for _, name := range f.names() {
			if _, err := f.nodes[name].Found(f.t.Context(), "eu"); !errors.Is(err, replication.ErrRejected) {
				f.t.Errorf("formed again at %s: %v", name, err)
			}
		}
		f.stopAll()
		f.nodes["us-1"].disk = vfs.NewCrashableMem()
		f.start("us-1")
		f.takesNothing("us-1")
		f.fleetSays("us-1", "us", "region eu may have a history, and does not say")
		if _, err := f.nodes["us-1"].Found(f.t.Context(), "us"); !errors.Is(err, replication.ErrNotReady) ||
			!strings.Contains(err.Error(), "region eu may have a history") {
			f.t.Errorf("formed again: %v", err)
		}
		f.start("eu-1")
		f.fleetSays("us-1", "us", "has forgotten it")
		if _, err := f.nodes["us-1"].Found(f.t.Context(), "us"); !errors.Is(err, replication.ErrRejected) {
			f.t.Errorf("formed again beside the one that is there: %v", err)
		}
	})
	shaped(t, map[string]int{"us": 1}, exists, func(f *testFleet) {
		f.takesNothing("us-1")
		if r, err := f.nodes["us-1"].Found(f.t.Context(), "us"); err != nil || r.Epoch != 1 {
			f.t.Fatalf("formed %+v, %v", r, err)
		}
		f.put("us-1", "c0")
	})
}

// TestAForcedEndOfAHandoff: of three regions, with a target that had begun and one that had not. What it took is a
// tail of its, and everybody follows the primary that was forced to itself.
func TestAForcedEndOfAHandoff(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		if err := f.sealForDead(); !errors.Is(err, replication.ErrUnknownOutcome) {
			t.Fatalf("switchover told %v", err)
		}
		f.fleetSays("us-1", "us", "if eu is lost for good: mimir failover --to us --force")
		_, err := f.nodes["ap-1"].Failover(f.t.Context(), "us", false)
		if !errors.Is(err, replication.ErrNeedsForce) || !strings.Contains(err.Error(), "eu, which may have begun") {
			t.Fatalf("not forced: %v", err)
		}
		if _, err := f.nodes["ap-1"].Failover(f.t.Context(), "us", true); err != nil {
			t.Fatal(err)
		}
		f.put("ap-1", "c1")
		f.start("eu-1")
		f.put("eu-1", "c2")
		f.eventually(values(0, 3))
	})
}

// TestARegionRejoinsByACopyThatIsNoFurtherThanItself: what it has instead is a tail before.
func TestARegionRejoinsByACopyThatIsNoFurtherThanItself(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.thereAndBack()
		f.start("us-1")
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "anew")
		f.put("us-1", "and again")
		f.network.Isolate("us-1")
		f.start("eu-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.network.HealAll()
		f.eventually(values(0, 2)) // nothing is written meanwhile
		f.hasTail("us-1", "anew", "and again")
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
	})
}

// TestWhatATargetTookIsATail: it had begun, and was gone before anybody could know it.
func TestWhatATargetTookIsATail(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		told := make(chan error, 1)
		f.network.SetDelay("us-1", "eu-1", 200*time.Millisecond, 0)
		f.network.SetDelay("ap-1", "eu-1", 200*time.Millisecond, 0)
		go func() {
			_, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu")
			told <- err
		}()
		for f.nodes["eu-1"].Health().Role != replication.RolePrimary {
			time.Sleep(time.Millisecond)
		}
		f.network.Isolate("eu-1")
		f.put("eu-1", "taken")
		if err := <-told; !errors.Is(err, replication.ErrUnknownOutcome) {
			t.Fatalf("switchover told %v", err)
		}
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); err != nil {
			t.Fatal(err)
		}
		f.put("ap-1", "c1")
		f.network.HealAll()
		f.eventually(values(0, 2))
		f.hasTail("eu-1", "taken")
	})
}
