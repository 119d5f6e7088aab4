package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var binary = flag.String("mimir-binary", "", "test this mimir; default: one that is built of this tree")

// Main runs the tests of a package with a mimir to start, and returns the exit status.
func Main(m *testing.M) int {
	if !flag.Parsed() { // else what the caller made of flags, such as where it built something, would be forgotten
		flag.Parse()
	}
	if *binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "mimir-peers-")
	if err == nil {
		defer os.RemoveAll(dir)
		*binary = filepath.Join(dir, "mimir")
		err = build(*binary)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Run runs a command of mimir to its end, and returns what it printed.
func Run(ctx context.Context, arguments ...string) (string, error) {
	return output(exec.CommandContext(ctx, *binary, arguments...))
}

// Command is what runs a command of mimir.
func Command(arguments ...string) []string { return append([]string{*binary}, arguments...) }

// build builds the mimir of this tree with the versions that its own module names, not with those of the peers.
func build(to string) error {
	root, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/mimir-kv/mimir"))
	if err != nil {
		return err
	}
	command := exec.Command("go", "build", "-buildvcs=false", "-o", to, "./cmd/mimir")
	command.Dir = root
	_, err = output(command)
	return err
}

func output(c *exec.Cmd) (string, error) {
	text, err := c.Output()
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", strings.Join(c.Args, " "), err)
}
