//go:build unix

package whole

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// W2: nobody waits for who might write to a pipe, under whatever name.
func TestAPipeIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir, os.DevNull} {
		if _, err := Open(t.Context(), path); !errors.Is(err, ErrNoFile) {
			t.Errorf("read %s: %v", path, err)
		}
		if _, err := Create(path); !errors.Is(err, os.ErrExist) {
			t.Errorf("write %s: %v", path, err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "f"+partSuffix), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Finish(), f.Publish(), f.Abandon()); err != nil {
		t.Error(err)
	}
}
