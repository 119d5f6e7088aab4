package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/deploy/packages/build"
)

// A release that does not come to its end leaves nothing of itself, nor of the one before: no file without a sum, and no
// sum of another file.
func TestAReleaseThatFailsLeavesNothing(t *testing.T) {
	// It is packed for Linux last, with pages that this source has not.
	source, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"LICENSE": "", "go.mod": "module " + build.Module + "\n\ngo 1.26\n",
		"cmd/mimir/main.go": "package main\n\nfunc main() {}\n",
	} {
		file := filepath.Join(source, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	git := exec.CommandContext(t.Context(), "sh", "-c",
		"git init -q && git add -A && git -c user.name=a -c user.email=a@example.net commit -qm first")
	git.Dir = source
	if out, err := git.CombinedOutput(); err != nil {
		t.Skipf("no git: %v\n%s", err, out)
	}
	for name, text := range map[string]string{sums: "00  before.tgz\n", "before.tgz": "", "notes.txt": ""} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := func(what string) {
		t.Helper()
		entries, err := os.ReadDir(to)
		if err != nil || len(entries) != 1 || entries[0].Name() != "notes.txt" {
			t.Errorf("%s leaves %v, %v", what, entries, err)
		}
	}
	r := release{source: source, to: to}
	if err := r.run(t.Context(), "v1.2.3", "linux/amd64"); err == nil || !strings.Contains(err.Error(), "no docs") {
		t.Errorf("without pages: %v", err)
	}
	if len(r.made) < 3 {
		t.Errorf("it failed before anything was made: %v", r.made)
	}
	left("a release without pages")
	half := func(w io.Writer) error {
		if _, err := io.WriteString(w, "half of it"); err != nil {
			return err
		}
		return errors.New("broken")
	}
	if err := r.file("made.tgz", half); err == nil {
		t.Error("half of it is taken for the whole")
	}
	if err := r.discard(); err != nil {
		t.Error(err)
	}
	left("what was half written")
}

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
