package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// probe is a program that needs a C compiler with its headers, as the race detector does.
const probe = `package main

// #include <stdlib.h>
import "C"

func main() { C.free(nil) }
`

// tryRaceDetector builds a program with it and runs that. The error says in one line why it does not work.
func tryRaceDetector() error {
	text, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	compiler, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
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
	build := exec.Command("go", "build", "-race", "-o", program, "probe.go")
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
