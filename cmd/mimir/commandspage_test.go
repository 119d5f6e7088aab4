//go:build unix

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mimir-kv/mimir/server"
)

var updateCommands = flag.Bool("update", false, "write docs/commands.md anew")

const commandsPage = "../../docs/commands.md"

// TestCommandsAreDocumented holds docs/commands.md against what the commands say of themselves in their help.
func TestCommandsAreDocumented(t *testing.T) {
	for _, pair := range os.Environ() { // defaults come from there
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "MIMIR_") {
			t.Setenv(name, value)
			os.Unsetenv(name)
		}
	}
	want := pageOfCommands()
	if *updateCommands {
		if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) == want {
		return
	}
	now := strings.Split(string(text), "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(now) || now[i] != line {
			t.Fatalf("%s is not what the commands say: line %d should be\n%s\n"+
				"go test ./cmd/mimir -run TestCommandsAreDocumented -update writes it", commandsPage, i+1, line)
		}
	}
	t.Fatalf("%s goes on behind what the commands say", commandsPage)
}

// pageOfCommands is the page: all commands in the order of the help, those below another one behind it.
func pageOfCommands() string {
	root := newRoot(nil)
	root.SetOut(io.Discard)
	withExamples(root)
	var b strings.Builder
	b.WriteString("# Commands of `mimir`\n\n" +
		"What `mimir COMMAND --help` says of each, made of it. A program that runs `mimir` reads `-o json` and the\n" +
		"exit status.\n\n")
	b.WriteString(prose(root.Long) + "\n\n| command | |\n|---|---|\n")
	each(root, func(c *cobra.Command) {
		if c != root && !c.Hidden {
			title := c.CommandPath()
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", title, strings.ReplaceAll(title, " ", "-"), cell(c.Short))
		}
	})
	b.WriteString("\n## Flags of the connection\n\nThose of every command that asks a fleet.\n\n")
	ofConnection := connectionFlags()
	b.WriteString(flagTable(ofConnection, func(*pflag.Flag) bool { return true }))
	settings := pflag.NewFlagSet("", pflag.ContinueOnError)
	server.AddFlags(settings)
	each(root, func(c *cobra.Command) {
		if c != root && !c.Hidden {
			b.WriteString(commandText(c, ofConnection, settings))
		}
	})
	return b.String()
}

// connectionFlags are those of commands that ask a fleet.
func connectionFlags() *pflag.FlagSet {
	c := &cobra.Command{}
	(&connection{}).addFlags(c)
	return c.Flags()
}

// commandText is the section of a command.
func commandText(c *cobra.Command, ofConnection, settings *pflag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s %s\n\n", strings.Repeat("#", min(4, 1+strings.Count(c.CommandPath(), " "))), c.CommandPath())
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	b.WriteString(prose(long) + "\n")
	if c.Runnable() && !c.HasSubCommands() || c.LocalNonPersistentFlags().HasAvailableFlags() {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	flags := c.Flags()
	flags.AddFlagSet(c.PersistentFlags())
	flags.AddFlagSet(c.InheritedFlags())
	asks, serves := holds(flags, ofConnection), holds(flags, settings)
	switch {
	case serves:
		b.WriteString("\nEach key of [configuration.md](configuration.md) is a flag too.\n")
	case asks:
		b.WriteString("\nWith the [flags of the connection](#flags-of-the-connection).\n")
	}
	own := flagTable(flags, func(f *pflag.Flag) bool {
		return f.Name != "help" && (!asks || !sameFlag(ofConnection.Lookup(f.Name), f)) &&
			(!serves || !sameFlag(settings.Lookup(f.Name), f))
	})
	if own != "" {
		b.WriteString("\n" + own)
	}
	return b.String()
}

// holds reports whether flags has all of others.
func holds(flags, others *pflag.FlagSet) bool {
	all := true
	others.VisitAll(func(f *pflag.Flag) { all = all && sameFlag(flags.Lookup(f.Name), f) })
	return all
}

func sameFlag(a, b *pflag.Flag) bool {
	return a != nil && b != nil && a.Usage == b.Usage && a.DefValue == b.DefValue
}

// flagTable is the table of the flags that are wanted and not hidden, empty without any.
func flagTable(flags *pflag.FlagSet, wanted func(*pflag.Flag) bool) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || !wanted(f) {
			return
		}
		if b.Len() == 0 {
			b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		preset := "–"
		switch f.DefValue {
		case "", "[]", "false", "0s", "0":
		default:
			preset = "`" + strings.Trim(f.DefValue, "[]") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, preset, cell(usage))
	})
	return b.String()
}

// cell is text as a cell of a table has it.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(prose(s), "|", `\|`), "\n", " ")
}

var (
	markup   = regexp.MustCompile(`[<>*_#\[\]]`)
	codeWord = regexp.MustCompile(`(^|[\s(,])` +
		`(--[a-z][a-z-]*(?:=[A-Za-z0-9]+)?|[a-z0-9]+://[^\s,;:]*|MIMIR(?:\\_[A-Z]+)+)`)
	pageName = regexp.MustCompile(`\bdocs/([a-z-]+\.(?:md|schema\.json))\b`)
)

// prose is what a help says as Markdown: code that is indented stays what it is.
func prose(help string) string {
	lines := strings.Split(help, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		line = markup.ReplaceAllString(strings.TrimLeft(line, "# "), `\$0`)
		line = codeWord.ReplaceAllStringFunc(line, func(s string) string {
			m := codeWord.FindStringSubmatch(s)
			return m[1] + "`" + strings.ReplaceAll(m[2], `\`, "") + "`"
		})
		lines[i] = pageName.ReplaceAllString(line, "[$1]($1)")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
