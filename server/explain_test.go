package server

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestWhatIsInThePlaceOfADirectoryIsToBeTakenAway: what a node has beside it is whole, and a tail that it could not
// save yet is in its log, so that nobody is told to replace it.
func TestWhatIsInThePlaceOfADirectoryIsToBeTakenAway(t *testing.T) {
	for _, why := range []error{syscall.ENOTDIR, syscall.EEXIST} {
		failed := &fs.PathError{Op: "open", Path: "/data/rescue/x", Err: why}
		err := aNode.explained("/data", fmt.Errorf("save tail: %w", failed))
		if text := err.Error(); !strings.Contains(text, "take it away") || strings.Contains(text, "replace") {
			t.Errorf("%v: says %q", why, text)
		}
	}
}
