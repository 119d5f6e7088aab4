package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/deploy/packages/build"
)

// A source that is changed while it is built makes no release: nobody knows which of both is in it.
func TestASourceThatChangesIsNoRelease(t *testing.T) {
	dir := t.TempDir()
	git := func(arguments ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.net"},
			arguments...)...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Skipf("no git: %v\n%s", err, out)
		}
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "first")
	stamp, err := build.Read(t.Context(), dir, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	r := release{source: dir, stamp: stamp}
	if err := r.unchanged(t.Context()); err != nil {
		t.Errorf("a source that nobody touched: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.unchanged(t.Context()); err == nil || !strings.Contains(err.Error(), "+changes") {
		t.Errorf("a source that has another file: %v", err)
	}
	git("add", "-A")
	git("commit", "-q", "-m", "second")
	if err := r.unchanged(t.Context()); err == nil || !strings.Contains(err.Error(), "while it was built") {
		t.Errorf("a source of another commit: %v", err)
	}
}
