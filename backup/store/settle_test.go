package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable"
)

// A folder that is there may have been made by somebody who could not sync it, or has not yet: what is put below it is
// durable only once it is.
func TestFoldersThatAreThereAreSynced(t *testing.T) {
	dir := t.TempDir()
	for _, made := range []string{partsDir, "a/b"} {
		if err := os.MkdirAll(filepath.Join(dir, made), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openFolder(filepath.ToSlash(dir), stall)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*folder)
	dir = d.dir
	var synced []string
	fails := true
	d.sync = func(path string) error {
		if fails && path == dir {
			return syscall.EIO
		}
		synced = append(synced, path)
		return durable.OS.SyncDir(path)
	}
	if err := d.Put(t.Context(), "a/b/c", strings.NewReader("x")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a power cut may take it: %v", err)
	}
	fails, synced = false, nil
	if err := d.Put(t.Context(), "a/b/c", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "a", "b"), filepath.Join(dir, "a"), dir} {
		if !slices.Contains(synced, path) {
			t.Errorf("%s is not synced, only %v", path, synced)
		}
	}
}

// Who may write into a folder, and not read it, cannot sync it: a folder that he has made there is not durable, now or
// at the second attempt. One that is there somebody else has made.
func TestAFolderThatIsMadeIsSynced(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, partsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openFolder(filepath.ToSlash(dir), stall)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*folder)
	dir = d.dir
	d.sync = func(path string) error {
		if path == dir {
			return fs.ErrPermission
		}
		return durable.OS.SyncDir(path)
	}
	for range 2 {
		if err := d.Put(t.Context(), "a/b", strings.NewReader("x")); !errors.Is(err, ErrDenied) {
			t.Errorf("a power cut may take it: %v", err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Errorf("the folder was there: %v", err)
	}
}

// What was put while it could not be made durable is, once Settle returns, without being put again.
func TestWhatIsThereIsSettled(t *testing.T) {
	dir := t.TempDir()
	s, err := openFolder(filepath.ToSlash(dir), stall)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*folder)
	dir = d.dir
	var synced []string
	fails := true
	d.sync = func(path string) error {
		if fails && path == filepath.Join(dir, "a") {
			return syscall.EIO
		}
		synced = append(synced, path)
		return durable.OS.SyncDir(path)
	}
	if err := d.Put(t.Context(), "a/b", strings.NewReader("x")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a power cut may take it: %v", err)
	}
	if err := Settle(t.Context(), s, "a/b"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a power cut may take it still: %v", err)
	}
	fails, synced = false, nil
	if err := Settle(t.Context(), s, "a/b"); err != nil {
		t.Error(err)
	}
	if want := []string{filepath.Join(dir, "a"), dir}; !slices.Equal(synced, want) {
		t.Errorf("synced is %v, not %v", synced, want)
	}
	for _, name := range []string{"a/c", "a"} {
		if err := Settle(t.Context(), s, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
