package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// mayBeEmpty are panels that have nothing to show while all is well.
var mayBeEmpty = map[string]bool{"Requests that failed, a second": true}

// Every panel has data of a fleet that is well, and reads only metrics that the docs explain.
func TestThePanelsHaveData(t *testing.T) {
	text, err := os.ReadFile("grafana/mimir.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Annotations struct{ List []struct{ Name, Expr string } }
		Panels      []struct {
			Type, Title string
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	docs := documented(t)
	shown := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			shown++
			reads := names(t, target.Expr)
			for _, name := range reads {
				if isOwn(name) && !docs[name] {
					t.Errorf("%q reads %s, which docs/metrics.md does not explain", panel.Title, name)
				}
			}
			h, _, now := wellFor(t, 10*time.Minute, reads)
			got := h.samples(t, target.Expr, now)
			if len(got) == 0 && !mayBeEmpty[panel.Title] {
				t.Errorf("%q is empty: %s", panel.Title, target.Expr)
			}
			if missing := unnamed(target.LegendFormat, got); missing != "" {
				t.Errorf("the legend %q of %q names %s, which is not there", target.LegendFormat, panel.Title, missing)
			}
			if label := "exported_region"; h.has(label) && strings.Contains(target.LegendFormat, "{{node}}") &&
				!strings.Contains(target.LegendFormat, "{{"+label+"}}") {
				t.Errorf("the legend %q of %q does not name the region of the other node, %s: {{region}} is that of "+
					"who was scraped", target.LegendFormat, panel.Title, label)
			}
		}
	}
	for _, a := range board.Annotations.List {
		names(t, a.Expr)
	}
	if shown < 25 {
		t.Errorf("only %d panels", shown)
	}
}

var inLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)

// unnamed returns a label that a legend names and one of these series does not have, "" if there is none.
func unnamed(legend string, list []promql.Sample) string {
	for _, part := range inLegend.FindAllStringSubmatch(legend, -1) {
		for _, s := range list {
			if s.Metric.Get(part[1]) == "" {
				return part[1]
			}
		}
	}
	return ""
}

// has reports whether a series has such a label.
func (h *history) has(label string) bool {
	for _, k := range h.series {
		if k.labels.Get(label) != "" {
			return true
		}
	}
	return false
}

// documented are the metrics that docs/metrics.md explains.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			all[name] = true
			for _, part := range []string{"_bucket", "_count", "_sum"} {
				all[name+part] = true
			}
		}
	}
	return all
}
