//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionIsAlsoAFlag(t *testing.T) {
	status, command, errs := mimir(t, "version")
	if status != exitDone || !strings.HasPrefix(command, "mimir "+version()+"\netcd API 3.") {
		t.Errorf("version: %d %s%s", status, command, errs)
	}
	if status, flag, errs := mimir(t, "--version"); status != exitDone || flag != command {
		t.Errorf("--version: %d\n%s%s\nwant\n%s", status, flag, errs, command)
	}
}

// A package is often built from an archive, without the repository: the version is what the packager says, by the
// command in docs/operating.md.
func TestVersionOfAPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("links the whole program")
	}
	const flags, manual = "-X main.release=", "../../docs/operating.md"
	const origin = " -X main.commit=0123abcd -X main.date=2026-11-27T22:00:00Z"
	if text, err := os.ReadFile(manual); err != nil || !strings.Contains(string(text), `-ldflags "`+flags+`v`) {
		t.Errorf("%s does not name %s: %v", manual, flags, err)
	}
	program := filepath.Join(t.TempDir(), "mimir")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", flags+"v1.2.3-ours"+origin,
		"-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, argument := range []string{"version", "--version"} {
		out, err := exec.CommandContext(t.Context(), program, argument).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "mimir v1.2.3-ours\n") ||
			!strings.HasSuffix(string(out), "\ncommit 0123abcd of 2026-11-27T22:00:00Z\n") {
			t.Errorf("%s: %v\n%s", argument, err, out)
		}
	}
}
