package main

import (
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/server"
)

// TestWhatPassesIsNoWrongConfiguration: a file that could not be read just now may be at the next start, which a
// supervisor makes of what failed, and not of a wrong configuration.
func TestWhatPassesIsNoWrongConfiguration(t *testing.T) {
	for cause, want := range map[error]int{
		syscall.EIO: exitFailed, syscall.EMFILE: exitFailed, syscall.ENFILE: exitFailed,
		syscall.ENOENT: exitUsage, syscall.EACCES: exitUsage, syscall.EISDIR: exitUsage,
	} {
		read := &fs.PathError{Op: "open", Path: "key", Err: cause}
		err := fmt.Errorf("%w: fleet-key-file: %w", server.ErrConfig, read)
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
