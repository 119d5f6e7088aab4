package durable

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestALockIsLetGoWhoeverHasTheFile: a process that was begun while it was held has the file until it comes to its own
// program.
func TestALockIsLetGoWhoeverHasTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	held, err := OS.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	other, err := unix.Dup(int(held.(locked).Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if again, err := OS.Lock(name); !errors.Is(err, ErrLocked) {
		t.Fatalf("while it is held: %v, %v", again, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OS.Lock(name)
	if err != nil {
		t.Fatalf("after it was let go: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
