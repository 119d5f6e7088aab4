package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// turn is one that notes when it runs, and that hangs, when it is to end, until it is let go.
type turn struct {
	name  string
	notes *turnNotes
	hangs chan struct{}
}

type turnNotes struct {
	mu   sync.Mutex
	said []string
}

func (n *turnNotes) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, text)
}

func (n *turnNotes) wants(t *testing.T, said ...string) {
	t.Helper()
	virtual.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.said, said) {
		t.Errorf("%q, want %q", n.said, said)
	}
}

func (r *turn) Run(ctx context.Context) {
	r.notes.add(r.name)
	<-ctx.Done()
	if r.hangs != nil {
		<-r.hangs
	}
	r.notes.add(r.name + " over")
}

// The next begins when the one before is over. One that hangs is told of and counted, and the next begins beside it;
// whoever waits for all of them waits for it too.
func TestWhatHangsDoesNotKeepTheNextFromItsTurn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var all turns[*turn]
		var carrying sync.WaitGroup
		notes := &turnNotes{}
		ctx, cancel := context.WithCancel(t.Context())
		hangs := make(chan struct{})
		all.next(&turn{name: "first", notes: notes})
		carrying.Go(func() { all.run(ctx, carrying.Go, func(r *turn) { notes.add(r.name + " is late") }) })
		notes.wants(t, "first")
		all.next(&turn{name: "second", notes: notes, hangs: hangs})
		notes.wants(t, "first", "first over", "second")
		third := &turn{name: "third", notes: notes}
		all.next(third)
		time.Sleep(turnTime - time.Second)
		notes.wants(t, "first", "first over", "second")
		if all.now() != third || all.stuck() != 0 {
			t.Errorf("now %v, %d stuck", all.now(), all.stuck())
		}
		time.Sleep(2 * time.Second)
		notes.wants(t, "first", "first over", "second", "second is late", "third")
		if all.stuck() != 1 {
			t.Errorf("%d stuck", all.stuck())
		}
		all.next(nil)
		notes.wants(t, "first", "first over", "second", "second is late", "third", "third over")
		if all.now() != nil || all.before() != third {
			t.Errorf("now %v, before %v", all.now(), all.before())
		}
		cancel()
		ended := make(chan struct{})
		go func() {
			carrying.Wait()
			close(ended)
		}()
		virtual.Wait()
		select {
		case <-ended:
			t.Error("one hangs, and nobody waits for it")
		default:
		}
		close(hangs)
		<-ended
		if all.stuck() != 0 {
			t.Errorf("%d stuck", all.stuck())
		}
	})
}

// A stop waits for nobody by itself: who hangs is waited for by who waits for all.
func TestAStopBeginsNoTurn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var all turns[*turn]
		notes := &turnNotes{}
		hangs := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		all.next(&turn{name: "first", notes: notes, hangs: hangs})
		var carrying sync.WaitGroup
		ended := make(chan struct{})
		go func() {
			all.run(ctx, carrying.Go, func(r *turn) { notes.add(r.name + " is late") })
			close(ended)
		}()
		notes.wants(t, "first")
		cancel()
		<-ended
		close(hangs)
		carrying.Wait()
		notes.wants(t, "first", "first over")
	})
}
