package deploy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
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
			Targets     []struct{ Expr string }
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
			if got := h.value(t, target.Expr, now); len(got) == 0 && !mayBeEmpty[panel.Title] {
				t.Errorf("%q is empty: %s", panel.Title, target.Expr)
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
