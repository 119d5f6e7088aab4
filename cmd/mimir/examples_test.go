//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEachCommandHasAnExample that names it, and only arguments and flags that it takes.
func TestEachCommandHasAnExample(t *testing.T) {
	root := newRoot(nil)
	withExamples(root)
	known := map[string]bool{}
	each(root, func(c *cobra.Command) {
		known[place(c)] = true
		if c.Hidden {
			return
		}
		if c.Example == "" {
			t.Errorf("%s has no example: write one into its constructor, or into examples", c.CommandPath())
		}
		named := false
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasPrefix(line, "  mimir") {
				t.Errorf("%s: example %q does not begin with mimir, indented by two", c.CommandPath(), line)
				continue
			}
			named = named || strings.HasPrefix(line[2:], c.CommandPath())
			if err := parses(line[2:]); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
		}
		if !named {
			t.Errorf("%s is not in its example\n%s", c.CommandPath(), c.Example)
		}
	})
	for path := range examples {
		if !known[path] {
			t.Errorf("there is no command %q, of which there is an example", path)
		}
	}
}

// parses reports what is wrong with a command line, without doing anything.
func parses(line string) error {
	line, _, _ = strings.Cut(line, " > ")
	line, _, _ = strings.Cut(line, " | ")
	root := newRoot(nil)
	withExamples(root)
	c, rest, err := root.Find(words(line)[1:])
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// words cuts a line as a shell does that knows single quotes.
func words(line string) (list []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

// TestHelpShowsCompletion of shells, since nobody looks for what is not shown.
func TestHelpShowsCompletion(t *testing.T) {
	status, out, errs := mimir(t, "--help")
	if status != exitDone || !strings.Contains(out, "completion") || !strings.Contains(out, "mimir dev") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if status, out, _ = mimir(t, "completion", "bash"); status != exitDone || !strings.Contains(out, "__start_mimir") {
		t.Errorf("status %d\n%.200s", status, out)
	}
}
