package transport

import (
	"errors"
	"fmt"
	"testing"
)

// What one peer said of this process is no word of this process about another: a node that was told that it is removed
// ends its streams with that as the cause, and must not tell its siblings that they are.
func TestWhatAPeerSaidIsNotPassedOn(t *testing.T) {
	for _, known := range wireErrors[1:] {
		said := AsRemote(fmt.Errorf("%w: us-2", known))
		if !errors.Is(said, known) {
			t.Errorf("%v arrives as %v", known, said)
		}
		for _, ending := range []error{
			said,
			fmt.Errorf("stopped: %w", fmt.Errorf("removed: %w", said)),
			errors.Join(errors.New("stopped"), said),
		} {
			if passed := AsRemote(ending); errors.Is(passed, known) || !errors.Is(passed, ErrRemote) {
				t.Errorf("%q, of a peer, is passed on as if this process had said it: %q", said, passed)
			}
		}
		own := AsRemote(errors.Join(said, fmt.Errorf("and here: %w", known)))
		if !errors.Is(own, known) {
			t.Errorf("%v, which a handler says itself beside a peer, arrives as %v", known, own)
		}
	}
}
