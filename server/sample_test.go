package server

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// loadSample reads a text as a node does that is told nothing else, and returns what is wrong with it.
func loadSample(t *testing.T, text string) (*Config, faults) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mimir.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(file, func(string) (string, bool) { return "", false }, nil)
}

// As it is a sample starts no node: whoever installs a package has to say first who the node is.
func TestASampleLacksNameAndRegionAlone(t *testing.T) {
	_, wrong := loadSample(t, string(Sample()))
	if len(wrong) != 2 || !strings.Contains(wrong[0].Error(), "name is missing") ||
		!strings.Contains(wrong[1].Error(), "region is missing") {
		t.Fatalf("%v, want that name and region are missing", wrong)
	}
	named := strings.NewReplacer("#name:", "name:", "#region:", "region:").Replace(string(Sample()))
	c, wrong := loadSample(t, named)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if c.Replication.NodeID != "us-1" || c.Replication.RegionID != "us" || c.Replication.DataDir != "/var/lib/mimir" {
		t.Errorf("node %q of region %q in %q", c.Replication.NodeID, c.Replication.RegionID, c.Replication.DataDir)
	}
}

var settingLine = regexp.MustCompile(`(?m)^#?(\S+|  \S+):(.*)$`)

// Every line of a sample that is no explanation is a setting with its default: with all of them in force it says what a
// file says that names name, region and directory alone.
func TestASampleHasEverySettingWithItsDefault(t *testing.T) {
	var all strings.Builder
	for line := range strings.Lines(string(Sample())) {
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "#\t") || strings.HasPrefix(line, "#  ") {
			line = strings.TrimPrefix(line, "#")
		}
		all.WriteString(line)
	}
	got, wrong := loadSample(t, all.String())
	if len(wrong) > 0 {
		t.Fatalf("%v\n%s", wrong, all.String())
	}
	want, wrong := loadSample(t, "name: us-1\nregion: us\ndata-dir: /var/lib/mimir\n")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for _, s := range settings {
		if a, b := s.get(got), s.get(want); a != b {
			t.Errorf("%s is %q by the sample, and %q without", s.key, a, b)
		}
	}
	keys := map[string]int{}
	for _, m := range settingLine.FindAllStringSubmatch(string(Sample()), -1) {
		keys[strings.TrimSpace(m[1])]++
	}
	wanted := map[string]int{}
	headings := map[string]bool{}
	for _, s := range settings {
		parent, key, nested := strings.Cut(s.key, ".")
		if !nested {
			key = parent
		} else if !headings[parent] {
			headings[parent] = true
			wanted[parent]++
		}
		wanted[key]++
	}
	if !reflect.DeepEqual(keys, wanted) {
		t.Errorf("the sample has\n%v\nwant\n%v", keys, wanted)
	}
}

// Somebody reads it in a terminal.
func TestASampleHasNoMarksOfAPage(t *testing.T) {
	for i, line := range strings.Split(string(Sample()), "\n") {
		if strings.Contains(line, "](") || strings.Contains(line, "`") || strings.HasSuffix(line, " ") {
			t.Errorf("line %d: %q", i+1, line)
		}
	}
}
