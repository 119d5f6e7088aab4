//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThePagesSayWhatThereIs: every command line of mimir that a page has is one that mimir takes, by its flags and the
// number of its arguments. Nothing is run: the runbooks are, by e2e's TestRunbooks.
func TestThePagesSayWhatThereIs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shellLines(string(text)) {
			words := wordsOf(line)
			if len(words) == 0 || words[0] != "mimir" {
				continue
			}
			seen++
			if err := takes(words[1:]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), line, err)
			}
		}
	}
	if seen < 50 {
		t.Errorf("%d command lines in %d pages: is none of them read any more?", seen, len(pages))
	}
}

// shellLines returns what stands in blocks of sh, lines that go on put together.
func shellLines(page string) (list []string) {
	inside, begun := false, ""
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && strings.HasSuffix(line, `\`):
			begun += strings.TrimSuffix(line, `\`)
		case inside:
			list, begun = append(list, begun+line), ""
		}
	}
	return list
}

// wordsOf takes the first command of a line of sh apart: up to a comment, or to what it is joined to.
func wordsOf(line string) (words []string) {
	var word strings.Builder
	quote, open, before := rune(0), false, rune(0)
	end := func() {
		if open {
			words = append(words, word.String())
		}
		word.Reset()
		open = false
	}
	for _, r := range line {
		if before == '$' && r == '(' { // what it prints is one word here
			quote = ')'
		}
		before = r
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ':
			end()
		case strings.ContainsRune("|&;><", r), r == '#' && !open:
			end()
			return words
		default:
			open = true
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// takes returns why mimir does not take these arguments, as far as that is known before it does anything.
func takes(arguments []string) error {
	root := newRoot(nil)
	withExamples(root)
	c, rest, err := root.Find(arguments)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := c.Flags().GetBool("help"); help {
		return nil
	}
	return firstOf(c.ValidateRequiredFlags, func() error { return c.ValidateArgs(c.Flags().Args()) })
}

func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
