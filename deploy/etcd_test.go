package deploy

import (
	"os"
	"strings"
	"testing"
	"time"
)

// What etcd publishes for etcd, alerts and panels of its dashboard, evaluates against a fleet of Mimir that is well: no
// alert fires, and no panel is empty. The expressions are those of server/telemetry/testdata/etcd-rules.txt.
func TestWhatEtcdPublishesEvaluates(t *testing.T) {
	text, err := os.ReadFile("../server/telemetry/testdata/etcd-rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	alerts, panels := 0, 0
	for line := range strings.Lines(string(text)) {
		name, expression, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		h, _, now := wellFor(t, 20*time.Minute, names(t, expression))
		got := h.value(t, expression, now)
		switch kind, _, _ := strings.Cut(name, " "); kind {
		case "alert":
			if alerts++; len(got) > 0 {
				t.Errorf("%s fires: %v", name, got)
			}
		case "panel":
			if panels++; len(got) == 0 {
				t.Errorf("%s is empty", name)
			}
		default:
			t.Errorf("%q is no alert and no panel", name)
		}
	}
	if alerts < 13 || panels < 18 {
		t.Errorf("%d alerts and %d panels were evaluated", alerts, panels)
	}
}
