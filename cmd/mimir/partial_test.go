package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/server/partial"
)

// partlyAt is what a node says of partial region edge.
func partlyAt(node, problem, prefix string, lag float64) nodeReport {
	return nodeReport{name: node, partial: []partial.Report{{
		Name: "edge", Prefixes: []string{prefix}, Problem: problem,
		Nodes: []partial.Following{{Node: "edge-" + node, Revision: 7, Behind: 2, LagSeconds: lag}},
	}}}
}

// Status and the console say who of a partial region follows whom, and what is wrong with what nodes know of it.
func TestStatusTellsOfPartialRegions(t *testing.T) {
	f := pictureAt(7)
	f.Regions[0].nodes = []nodeReport{partlyAt("us-1", "", "/a/", 1.5), partlyAt("us-2", "line 1: no", "/b/", -1)}
	f.tellPartial()
	var printed bytes.Buffer
	printPartial(&printed, f)
	want := "partial region edge: follows only /a/; never primary\n" +
		"  edge-us-1 follows us-1 in us: revision 7, 2 revisions behind, lag 1.50 s\n" +
		"  edge-us-2 follows us-2 in us: revision 7, 2 revisions behind, lag unknown\n"
	if printed.String() != want {
		t.Errorf("it says %s", &printed)
	}
	said := strings.Join(f.Warnings, "; ")
	for _, text := range []string{"us-2 has other prefixes for partial region edge", "us-2 goes on with partial " +
		"regions of before, since partial-regions-file cannot be read: line 1: no"} {
		if !strings.Contains(said, text) {
			t.Errorf("no word of %q: %s", text, said)
		}
	}
	for line := range strings.Lines(want) {
		if !slices.Contains(f.linesTold(), strings.TrimSuffix(line, "\n")) {
			t.Errorf("the console does not say %q", line)
		}
	}
}
