//go:build unix

package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a node keeps is its user's alone; of a directory that was made before, others' rights are told.
func TestDataIsItsUsersAlone(t *testing.T) {
	c := testConfig(t, "us-1")
	c.Replication.DataDir = filepath.Join(t.TempDir(), "data")
	if err := runNode(t, c)(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(c.Replication.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %04o", path, info.Mode().Perm())
		}
		files++
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
	if told := readable(c.Replication.DataDir); told != nil {
		t.Errorf("told %q", told)
	}
	if err := os.Chmod(c.Replication.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if told := readable(c.Replication.DataDir); len(told) != 1 || !strings.Contains(told[0], "chmod") {
		t.Errorf("told %q", told)
	}
	secret := filepath.Join(t.TempDir(), "tokens")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 1} {
		if err := errors.Join(os.WriteFile(secret, nil, mode), os.Chmod(secret, mode)); err != nil {
			t.Fatal(err)
		}
		if told := readableFile("operator.token-file", secret); len(told) != want {
			t.Errorf("mode %04o: told %q", mode, told)
		}
	}
}
