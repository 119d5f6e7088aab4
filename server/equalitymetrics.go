package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/server/patrol"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// equalityMetrics tell how equal all nodes are, read when they are scraped.
type equalityMetrics struct {
	telemetry.Unchecked
	*equality
}

var (
	differing = telemetry.Declare(telemetry.Gauge, "mimir_differing_nodes",
		"Nodes about which an alarm is raised, as this node has applied it: `differs`, those that hold something else "+
			"than their region; `unsure`, those that hold something else than others where it is not known who is "+
			"right.",
		"verdict")
	compareEvery = telemetry.Declare(telemetry.Gauge, "mimir_compare_every_seconds",
		"The period in which all nodes are compared, on the node that compares them; else absent.")
	compareAge = telemetry.Declare(telemetry.Gauge, "mimir_compare_age_seconds",
		"Seconds since everything that the nodes of a region hold was last compared, of the one of which that is "+
			"longest ago, or since this node began to compare; likewise.", "of")
	compareParts = telemetry.Declare(telemetry.Counter, "mimir_compare_parts_total",
		"Ranges of keys that this node has had compared.")
	compareBytes = telemetry.Declare(telemetry.Counter, "mimir_compare_bytes_total",
		"Bytes of keys and values in them, of one of the nodes that were compared.")
	compareFound = telemetry.Declare(telemetry.Counter, "mimir_compare_differences_total",
		"Differences that this node found twice, and told.")
)

// Collect implements prometheus.Collector.
func (m equalityMetrics) Collect(out chan<- prometheus.Metric) {
	differing.Set(out, float64(len(kv.Members(m.store, command.AlarmDiffers))), "differs")
	differing.Set(out, float64(len(kv.Members(m.store, command.AlarmUnsure))), "unsure")
	r := m.patrol.Report()
	if r == nil {
		r = new(patrol.Report)
	}
	compareParts.Set(out, float64(r.Parts))
	compareBytes.Set(out, float64(r.Bytes))
	compareFound.Set(out, float64(r.Differences))
	if !r.Compares {
		return
	}
	compareEvery.Set(out, r.EverySeconds)
	for region, since := range r.Oldest() {
		compareAge.Set(out, max(time.Since(since).Seconds(), 0), region)
	}
}
