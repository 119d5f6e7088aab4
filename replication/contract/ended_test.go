package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTheEndOfAContextIsNoKindOfError(t *testing.T) {
	if err := Ended(t.Context()); err != nil {
		t.Errorf("it goes on: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ended(canceled); err != context.Canceled {
		t.Errorf("without a cause: %v", err)
	}
	late, cancel := context.WithDeadlineCause(t.Context(), time.Now(), fmt.Errorf("too slow: %w", ErrNotReady))
	defer cancel()
	caused, because := context.WithCancelCause(t.Context())
	because(fmt.Errorf("another call: %w", ErrNotReady))
	for ctx, want := range map[context.Context]error{
		late: context.DeadlineExceeded, caused: context.Canceled,
	} {
		below, cancel := context.WithCancel(ctx)
		for _, err := range []error{Ended(ctx), Ended(below), EndedIn(ctx, context.Cause(ctx))} {
			if !errors.Is(err, want) || errors.Is(err, ErrNotReady) || !strings.HasSuffix(err.Error(), ": not ready") {
				t.Errorf("%v", err)
			}
		}
		cancel()
	}
}
