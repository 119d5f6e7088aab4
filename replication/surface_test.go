package replication

import (
	"context"
	"fmt"
	"testing"
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
