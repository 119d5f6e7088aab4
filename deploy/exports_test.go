package deploy

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// ofTheScrape are the labels that no node gives.
var ofTheScrape = []string{"__name__", "job", "instance", "region"}

// What an incident adds to what a fleet that is well says is what nodes say: a metric with the labels that it is
// declared with, and, if it is one of a node's role, of a region whose nodes have that role.
func TestIncidentsAreOfSeriesThatNodesExport(t *testing.T) {
	all := maps.Clone(incidents)
	all["a region that follows by another one"] = servedByAnother
	declared, said := declaredLabels(t), rolesSay(t)
	for name, what := range all {
		for _, c := range what {
			if c.usual == nil {
				continue // a fleet said it
			}
			l, err := language.ParseMetric(c.selector)
			if err != nil {
				t.Fatal(err)
			}
			want, ok := declared[l.Get("__name__")]
			if own := ownLabels(l); !ok || !slices.Equal(own, want) {
				t.Errorf("%s: %s has the labels %v, and %v are declared", name, c.selector, own, want)
			}
			if !said.says(l) {
				t.Errorf("%s: no node of that region exports %s", name, c.selector)
			}
		}
	}
}

// ownLabels returns the names of the labels that a node gives, in order.
func ownLabels(l labels.Labels) []string {
	own := []string{}
	l.Range(func(one labels.Label) {
		if !slices.Contains(ofTheScrape, one.Name) {
			own = append(own, one.Name)
		}
	})
	return own
}

// declaredLabels returns the names of the labels of each metric, in order, as docs/metrics.md has them.
func declaredLabels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		name, ok := strings.CutPrefix(cells[0], "| `")
		if !ok || len(cells) < 4 {
			continue
		}
		own := strings.FieldsFunc(cells[2], func(r rune) bool { return r == ',' || r == ' ' })
		name = strings.TrimSuffix(name, "`")
		if cells[1] == "histogram" {
			name, own = name+"_bucket", append(own, "le")
		}
		slices.Sort(own)
		all[name] = append([]string{}, own...)
	}
	return all
}

// roleSays is what nodes of a region export that are in some role.
type roleSays struct {
	region string
	series []labels.Labels
}

type everyRole []roleSays

// rolesSay reads what nodes of each role export.
func rolesSay(t *testing.T) (all everyRole) {
	t.Helper()
	text, err := os.ReadFile("../server/telemetry/testdata/roles.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			region, _, _ := strings.Cut(name, " ")
			all = append(all, roleSays{region: region})
			continue
		}
		l, err := language.ParseMetric(name)
		if err != nil {
			t.Fatal(err)
		}
		last := &all[len(all)-1]
		last.series = append(last.series, l)
	}
	return all
}

// says reports whether a node of the series' region has it. What is in nobody's role is not of a role.
func (all everyRole) says(l labels.Labels) bool {
	region, ofRole := l.Get("region"), false
	if region == "" {
		region = strings.ToLower(l.Get("instance"))
	}
	own := labels.NewBuilder(l).Del("job", "instance", "region").Labels()
	for _, role := range all {
		for _, one := range role.series {
			ofRole = ofRole || one.Get("__name__") == own.Get("__name__")
			if role.region == region && labels.Equal(one, own) {
				return true
			}
		}
	}
	return !ofRole
}
