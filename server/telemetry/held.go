package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// Of what goes to other regions at a rate.
var (
	heldRate = Declare(Gauge, "mimir_region_rate_bytes",
		"Bytes a second that this node sends to another region at most now, of copies and of the stream; absent if "+
			"there is no bound, or nothing went there.", "to", "of")
	heldTime = Declare(Counter, "mimir_region_held_seconds_total",
		"For how long something waited for that bound.", "to", "of")
)

func collectHeld(out chan<- prometheus.Metric, h *replication.HealthStatus) {
	for _, s := range h.Held {
		if s.BytesPerSecond > 0 {
			heldRate.Set(out, float64(s.BytesPerSecond), s.Region, s.Of)
		}
		heldTime.Set(out, s.HeldSeconds, s.Region, s.Of)
	}
}
