package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// What a process began to keep and did not finish is gone with the next one; the rest stays.
func TestWhatIsHalfKeptIsRemoved(t *testing.T) {
	fs := pebblefs.New(vfs.NewMem())
	logger := slog.New(slog.DiscardHandler)
	dropHalfAside(fs, "aside", logger)
	whole, half, other := "20261127T060210.114Z", "20261127T060310.114Z", "notes"
	for _, name := range []string{whole, half, other} {
		if err := durable.MakeDir(fs, "aside/"+name+"/contents"); err != nil {
			t.Fatal(err)
		}
	}
	if err := copies.Complete(fs, "aside/"+whole, &contract.Metadata{}); err != nil {
		t.Fatal(err)
	}
	dropHalfAside(fs, "aside", logger)
	left, err := fs.List("aside")
	if slices.Sort(left); err != nil || !slices.Equal(left, []string{whole, other}) {
		t.Errorf("left %q, %v", left, err)
	}
}

// What a caller waits for ends with the node, and says so, or with the caller. Behind the end nothing begins.
func TestWhatACallerWaitsForEndsWithTheNode(t *testing.T) {
	type call struct {
		begun chan struct{}
		ended chan error
	}
	begin := func(ctx context.Context, n *node, do func(ctx context.Context) error) call {
		c := call{make(chan struct{}), make(chan error, 1)}
		go func() {
			c.ended <- within(ctx, n, func(ctx context.Context) error {
				close(c.begun)
				return do(ctx)
			})
		}()
		<-c.begun
		return c
	}
	waits := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	n := &node{life: life.New(clock.Real, slog.New(slog.DiscardHandler))}
	leaving, leave := context.WithCancelCause(t.Context())
	left := begin(leaving, n, waits)
	leave(ErrClosed) // the error of another call
	if err := <-left.ended; !errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		t.Errorf("whose caller left: %v", err)
	}
	c := begin(t.Context(), n, waits)
	n.life.Close()
	if err := <-c.ended; !errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
		t.Errorf("whose node was shut down: %v", err)
	}
	n.life.Wait()
	err := within(t.Context(), n, func(context.Context) error {
		t.Error("it begins behind the end")
		return nil
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("behind the end: %v", err)
	}
	fresh := func() *node { return &node{life: life.New(clock.Real, slog.New(slog.DiscardHandler))} }
	n = fresh()
	c = begin(t.Context(), n, func(context.Context) error { panic("on fire") })
	if err := <-c.ended; !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("which panicked: %v", err)
	}
	n = fresh()
	c = begin(t.Context(), n, func(context.Context) error {
		runtime.Goexit()
		return nil
	})
	if err := <-c.ended; !errors.Is(err, ErrStopped) {
		t.Errorf("which ended its goroutine: %v", err)
	}
	n = fresh()
	torn := fmt.Errorf("%w; what was here is in aside", region.ErrTorn)
	c = begin(t.Context(), n, func(context.Context) error {
		n.life.Close() // so it is not this that ends the node
		return torn
	})
	if err := <-c.ended; !errors.Is(err, ErrClosed) || !errors.Is(err, torn) {
		t.Errorf("which left the storage torn, as the node was shut down: %v", err)
	}
	n = fresh()
	c = begin(t.Context(), n, func(context.Context) error {
		n.life.Fail(torn)
		return torn
	})
	if err := <-c.ended; strings.Count(err.Error(), "aside") != 1 {
		t.Errorf("which ended the node: %v", err)
	}
}
