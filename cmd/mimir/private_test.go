//go:build unix

package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/localfleet"
)

// isPrivate says which files and directories below one others may read, but for empty ones, and returns how many there
// are.
func isPrivate(t *testing.T, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		} else if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if files++; err == nil && info.Mode().Perm()&0o077 != 0 && (d.IsDir() || info.Size() > 0) {
			t.Errorf("%s: mode %04o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What has data in it, or tells of them, is its owner's alone, also where nobody has asked for that: exported tails,
// the directory of `mimir dev` and of a program that uses the library.
func TestFilesAreTheirOwnersAlone(t *testing.T) {
	before := syscall.Umask(0o022) // as it is where nobody thinks of it
	defer syscall.Umask(before)
	dir := filepath.Join(t.TempDir(), "all")
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{"true"}, Witness: []string{"true"}, Regions: []string{"us", "eu"}, Nodes: 1,
		Direct: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range f.Nodes() {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	store := filepath.Join(t.TempDir(), "store")
	s, err := kv.Open(kv.Options{Dir: store})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, one := range []string{dir, store} {
		info, err := os.Stat(one)
		if err != nil || info.Mode().Perm() != 0o700 { // what is in it is of those who may enter
			t.Errorf("%s: %v, %v", one, info, err)
		}
	}
	if n := isPrivate(t, dir); n < 5 {
		t.Errorf("%d files", n)
	}
	out := t.TempDir()
	if err := os.Chmod(out, 0o700); err != nil {
		t.Fatal(err)
	}
	err = exportFile(filepath.Join(out, "tail.json"), func(w io.Writer) error {
		_, err := io.WriteString(w, "{}")
		return err
	})
	if n := isPrivate(t, out); err != nil || n != 2 {
		t.Errorf("%d files, %v", n, err)
	}
}
