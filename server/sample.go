package server

import (
	"fmt"
	"regexp"
	"strings"
)

// sampleHead begins a sample, and says how it is read and what is to be done with it.
const sampleHead = `# Settings of a Mimir node: every key that mimir serve takes, with its default.
#
# A line that begins with "# " explains the setting below it. One in which a key follows the # is a setting that is not
# in force: take the # away to set it, and of a key that is indented also that of the heading above it.
#
# A node starts once "name" and "region" are set, here or by MIMIR_NAME and MIMIR_REGION. Before you start it, have
# everything said for which it would not:
#
#	mimir serve --check --config /etc/mimir/mimir.yaml
#
# Pages that are named here, as operating.md, are those of the documentation.
`

// sampleValues are what a sample says of settings that have no default that works. Of these data-dir is in force.
var sampleValues = map[string]string{"name": "us-1", "region": "us", "data-dir": "/var/lib/mimir"}

// sampleColumns is where the lines of a sample that explain are broken.
const sampleColumns = 118

// Sample returns the text of a configuration file that has every key with what it means and its default, all of them
// commented out but for data-dir. Load takes it once it is told a name and a region.
func Sample() []byte {
	var b strings.Builder
	b.WriteString(sampleHead)
	defaults := DefaultConfig()
	for _, section := range sections {
		fmt.Fprintf(&b, "\n# ---- %s\n", section.title)
		heading := ""
		for i := range section.settings {
			s := &section.settings[i]
			parent, key, nested := strings.Cut(s.key, ".")
			indent := ""
			if !nested {
				parent, key = "", s.key
			} else {
				indent = "  "
			}
			if b.WriteByte('\n'); nested && parent != heading {
				fmt.Fprintf(&b, "#%s:\n", parent)
			}
			heading = parent
			explain(&b, strings.ReplaceAll(s.kind, ",…", ", …")+": "+unmarked(s.help()))
			mark := "#"
			if s.key == "data-dir" {
				mark = ""
			}
			fmt.Fprintf(&b, "%s%s%s: %s\n", mark, indent, key, s.sample(&defaults))
		}
	}
	return []byte(b.String())
}

// sample returns the value of a setting as a file has it.
func (s *setting) sample(defaults *Config) string {
	if value, ok := sampleValues[s.key]; ok {
		return value
	}
	value := s.get(defaults)
	switch {
	case strings.HasSuffix(s.kind, "=addr,…"), strings.HasSuffix(s.kind, "=durability,…"):
		return "{}"
	case s.kind == "list":
		return "[]"
	case value == "" || strings.ContainsAny(value, ":#"):
		return fmt.Sprintf("%q", value)
	}
	return value
}

var aPageLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)#]*)(#[^)]*)?\)`)

// unmarked takes the marks of a page out of a text.
func unmarked(text string) string {
	text = aPageLink.ReplaceAllStringFunc(text, func(link string) string {
		part := aPageLink.FindStringSubmatch(link)
		if part[1] == part[2] {
			return part[2] + part[3]
		}
		return part[1] + ": " + part[2] + part[3]
	})
	return strings.ReplaceAll(text, "`", "")
}

// explain writes a text as lines that explain.
func explain(b *strings.Builder, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > sampleColumns {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
