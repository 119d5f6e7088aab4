package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	switch {
	case err == nil:
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(arguments []string, out io.Writer) error {
	began := time.Now()
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	if o.help {
		_, err := fmt.Fprintln(out, usage)
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	unable := o.tryRaceDetector()
	if unable != nil && o.requireRace {
		return fmt.Errorf("the race detector does not work here: %w", unable)
	}
	if unable != nil {
		fmt.Fprintf(out, "check: WITHOUT the race detector, which does not work here: %v\n", unable)
	}
	packages, err := o.choose(func() ([]string, error) { return list(root) })
	if err != nil {
		return err
	}
	if vet := o.vet(); vet != nil {
		if err := execute(root, out, vet, false); err != nil {
			return err
		}
	}
	for _, r := range o.runs(packages, unable == nil) {
		if err := execute(root, out, o.test(r), r.race); err != nil {
			return err
		}
	}
	if seeds := o.campaign(time.Since(began)); seeds != nil {
		if err := execute(root, out, seeds, false); err != nil {
			return err
		}
	}
	if unable != nil {
		fmt.Fprintln(out, "check: passed, WITHOUT the race detector")
	}
	return nil
}

// moduleRoot returns the directory of the module that this command was started in, which must be its own.
func moduleRoot() (string, error) {
	text, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	path, root, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if path != module {
		return "", fmt.Errorf("this is not a directory of %s", module)
	}
	return filepath.Clean(root), nil
}

// list returns the packages of the module.
func list(root string) ([]string, error) {
	c := exec.Command("go", "list", "./...")
	c.Dir, c.Stderr = root, os.Stderr
	text, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	return strings.Fields(string(text)), nil
}

// execute runs a go command and shows what it runs: with cgo only where the race detector needs it. The tests that
// build something do so without, as what is released is built, so that all of it is compiled once.
func execute(root string, out io.Writer, arguments []string, race bool) error {
	shown := arguments
	if len(shown) > maxShown {
		shown = append(shown[:maxShown:maxShown], fmt.Sprintf("... (%d more)", len(arguments)-maxShown))
	}
	fmt.Fprintln(out, "check: go", strings.Join(shown, " "))
	set, err := goEnv("GOFLAGS")
	if err != nil {
		return err
	}
	c := exec.Command("go", arguments...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = root, os.Stdin, out, os.Stderr
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if race { // each program would stand still for a second before it ends; what the caller has set stands
		c.Env = append([]string{"GORACE=atexit_sleep_ms=10"}, os.Environ()...)
	}
	c.Env = append(c.Env, "GOFLAGS="+strings.TrimSpace(set+" "+undebugged))
	if err := c.Run(); err != nil {
		return fmt.Errorf("go %s: %w", arguments[0], err)
	}
	return nil
}

// undebugged is how this module is compiled, also by tests that build something: no debugger comes, and what is for one
// costs a fifth of compiling. Stacks and races name their lines without.
const undebugged = "-gcflags=" + module + "/...=-dwarf=false"

// maxShown is how many words of a command line are shown.
const maxShown = 12
