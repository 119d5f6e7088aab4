package server

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhatANewerVersionWroteIsNotToBeReplaced: it is whole, and only the program is the wrong one.
func TestWhatANewerVersionWroteIsNotToBeReplaced(t *testing.T) {
	for _, who := range []tenant{aNode, aWitness} {
		text := who.explained("/data", fmt.Errorf("open: %w", replication.ErrNewer)).Error()
		if !strings.Contains(text, "nothing is damaged: upgrade mimir") || strings.Contains(text, "replace") {
			t.Errorf("says %q", text)
		}
	}
}

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
