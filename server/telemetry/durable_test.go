package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsOfDurableWrites: by how they asked and what came of it; only what was written has a time.
func TestMetricsOfDurableWrites(t *testing.T) {
	d := new(Durable)
	registry := prometheus.NewRegistry()
	registry.MustRegister(d)
	if got := gathered(t, registry); len(got) != 0 {
		t.Errorf("before any: %q", got)
	}
	d.Note("all", "had", time.Second)
	d.Note("all", "late", 10*time.Second)
	d.Note("all", "refused", 0)
	d.Note("regions", "failed", time.Minute)
	want := []string{
		"write_seconds{durability=all} 2 11", "write_seconds{durability=regions} 0 0",
		"writes_total{durability=all,outcome=had} 1", "writes_total{durability=all,outcome=late} 1",
		"writes_total{durability=all,outcome=refused} 1", "writes_total{durability=regions,outcome=failed} 1",
	}
	if got := gathered(t, registry); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func gathered(t *testing.T, r *prometheus.Registry) (list []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := fmt.Sprintf("%s{%s}", strings.TrimPrefix(f.GetName(), "mimir_durable_"), strings.Join(labels, ","))
			if h := m.Histogram; h != nil {
				list = append(list, fmt.Sprintf("%s %d %v", name, h.GetSampleCount(), h.GetSampleSum()))
			} else {
				list = append(list, fmt.Sprintf("%s %v", name, m.Counter.GetValue()))
			}
		}
	}
	slices.Sort(list)
	return list
}
