package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/life"
)

// A write counts as failed if it was tried and has no outcome.
func TestWhichWritesFailed(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, ErrArgument: false, ErrTooLarge: false, ErrUnknownRegion: false, ErrUnderReplicated: false,
		ErrNotReady: true, ErrUnknownOutcome: true, ErrRejected: true, ErrClosed: true, context.Canceled: true,
	} {
		wrapped := err
		if err != nil {
			wrapped = fmt.Errorf("propose: %w", err)
		}
		if isFailure(wrapped) != want {
			t.Errorf("%v: failed: %t", err, !want)
		}
	}
}

// A call that a Shutdown cuts short is ErrClosed, whatever room it was in.
func TestWhatAShutdownCutsShortIsClosed(t *testing.T) {
	n := &node{life: life.New(clock.Real, slog.New(slog.DiscardHandler))}
	stopped := fmt.Errorf("%w: the group ended", ErrStopped)
	if err := orEnded(n, stopped); err != stopped {
		t.Errorf("nothing ended the node: %v", err)
	}
	n.life.Close()
	if err := orEnded(n, stopped); !errors.Is(err, ErrClosed) || errors.Is(err, ErrStopped) {
		t.Errorf("after Shutdown: %v", err)
	}
	for _, err := range []error{nil, ErrMember} {
		if got := orEnded(n, err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
