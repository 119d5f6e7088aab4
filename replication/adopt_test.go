package replication_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
)

// listener hears what nodes log.
type listener struct {
	slog.Handler
	mu    *sync.Mutex
	heard map[string]int
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	l.heard[r.Message]++
	l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

func (l listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

func (l listener) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[message]
}

// TestANodeThatWasAwayDuringAnInstallTakesTheStateOfAnother: its region gave up a tail meanwhile. It saves the tail as
// the others did, finds in its log an install of a copy that it never got, and takes the state of a node that has it,
// which has gone on since.
func TestANodeThatWasAwayDuringAnInstallTakesTheStateOfAnother(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		l := listener{f.log, new(sync.Mutex), map[string]int{}}
		f.log = l
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.losesTail(10, 20)
		f.start("us-1")
		f.start("us-2")
		f.eventually(values(0, 20))
		for i := 20; i < 30; i++ {
			f.put("eu-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 30))
		const elsewhere = "copy to install is not here; takes the state of another node"
		if l.count(elsewhere) != 0 {
			t.Fatal("a node that was there did not stage the copy")
		}
		f.start("us-3")
		f.eventually(values(0, 30))
		if l.count(elsewhere) != 1 {
			t.Fatalf("took the state of another node %d times", l.count(elsewhere))
		}
		tails, err := f.nodes["us-3"].Tails(f.t.Context())
		if err != nil || len(tails) != 1 || tails[0].Commands != 5 {
			t.Errorf("tails %+v, %v", tails, err)
		}
		if staged, err := f.nodes["us-3"].disk.List("/data/staging"); err != nil || len(staged) != 0 {
			t.Errorf("copies left: %v, %v", staged, err)
		}
		f.kill("us-3") // and what it took is there after a crash
		f.start("us-3")
		f.put("us-3", "c30")
		f.eventually(values(0, 31))
		if got := f.nodes["us-3"].ledger.commands(); !slices.Equal(got, values(0, 31)) {
			t.Errorf("%d commands", len(got))
		}
	})
}

// losesTail has the region us write five commands that nobody else gets, and then end; eu takes over by force, and
// writes the commands from one number to the one before another.
func (f *testFleet) losesTail(from, to int) {
	f.t.Helper()
	f.cutOff("us", "eu-1")
	for i := range 5 {
		f.put("us-1", fmt.Sprintf("lost%d", i))
	}
	for _, n := range f.regions["us"] {
		f.kill(n)
	}
	f.network.HealAll()
	if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
		f.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		f.put("eu-1", fmt.Sprintf("c%d", i))
	}
}
