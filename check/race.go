package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// probe is a program that needs a C compiler with its headers, as the race detector does.
const probe = `package main

// #include <stdlib.h>
import "C"

func main() { C.free(nil) }
`

// linked has the Go toolchain link what has the race detector, as it links what is released, and not the C compiler,
// which takes longer, for a hundred programs. Pebble's compression in C, which what is released has not either, cannot
// be linked so.
var linked = []string{"-tags=pebblegozstd", "-ldflags=-linkmode=internal"}

// tryRaceDetector builds a program with it and runs that. The error says in one line why it does not work.
func (o *options) tryRaceDetector() error {
	if tryLinked(linked...) == nil {
		o.link = linked
		return nil
	}
	return tryLinked()
}

// goEnv returns what go env says of a name.
func goEnv(name string) (string, error) {
	text, err := exec.Command("go", "env", name).Output()
	if err != nil {
		return "", fmt.Errorf("go env %s: %w", name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

func tryLinked(flags ...string) error {
	text, err := goEnv("CC")
	if err != nil {
		return err
	}
	compiler, _, _ := strings.Cut(text, " ")
	if _, err := exec.LookPath(compiler); err != nil {
		return fmt.Errorf("no C compiler: %w", err)
	}
	dir, err := os.MkdirTemp("", "mimir-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "probe.go"), []byte(probe), 0o600); err != nil {
		return err
	}
	program := filepath.Join(dir, "probe.exe")
	arguments := slices.Concat([]string{"build", "-race"}, flags, []string{"-o", program, "probe.go"})
	build := exec.Command("go", arguments...)
	build.Dir = dir
	if text, err := build.CombinedOutput(); err != nil {
		return reason(string(text), err)
	}
	if text, err := exec.Command(program).CombinedOutput(); err != nil {
		return reason(string(text), err)
	}
	return nil
}

// reason makes one line of what a failed command said.
func reason(text string, err error) error {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return errors.New(line)
		}
	}
	return fmt.Errorf("a program built with it: %w", err)
}
