//go:build unix

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keysOfFleet names a file of keys for the nodes that this program is when RUN_AS_MIMIR is set: they do not inherit
// settings.
const keysOfFleet = "KEYS_OF_FLEET"

// encryptFleet has all nodes that the test starts encrypt what they write.
func encryptFleet(t *testing.T) (keyFile string) {
	t.Helper()
	keyFile = filepath.Join(t.TempDir(), "keys")
	code, line, errs := mimir(t, "keys", "new")
	if code != exitDone || os.WriteFile(keyFile, []byte(line), 0o600) != nil {
		t.Fatal(code, errs)
	}
	t.Setenv(keysOfFleet, keyFile)
	t.Setenv("MIMIR_ENCRYPTION_KEY_FILE", keyFile) // for those that run in this process
	return keyFile
}

// nothingShows looks for what was written in all bytes of a data directory.
func nothingShows(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && d.IsDir() {
			return nil
		} else if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range []string{"forwarded", "only-in-eu", "contested", "lost 1", "value of"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
		if files++; os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files in %s: %v", files, dir, err)
	}
}

// canRotate puts the data directory of a node that is stopped under another key, and shows that the former one is not
// needed any more.
func canRotate(t *testing.T, dir, keyFile string) {
	t.Helper()
	former, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := mimir(t, "keys", "new")
	both := filepath.Join(t.TempDir(), "both")
	if err := os.WriteFile(both, append([]byte(line), former...), 0o600); err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(string(former), "# "), ",")
	for i, c := range []struct{ command, want string }{
		{"keys list --encryption-key-file " + both, id},
		{"keys rewrite --encryption-key-file " + both, "is under the first key"},
		{"keys list --encryption-key-file " + both, "active"},
	} {
		code, out, errs := mimir(t, append(strings.Fields(c.command), "--data-dir", dir)...)
		if code != exitDone || !strings.Contains(out, c.want) || i == 2 && strings.Contains(out, id) {
			t.Errorf("%s: %d %s%s", c.command, code, out, errs)
		}
	}
}
