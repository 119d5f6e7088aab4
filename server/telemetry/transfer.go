package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// Of copies of whole states that come here.
var (
	bootstrap = Declare(Gauge, "mimir_bootstrap",
		"1 for the phase of the bootstrap that the region is in, on its leader; absent if there is none.", "phase")
	copyPhase = Declare(Gauge, "mimir_copy",
		"1 for what is being done of the copy of a whole state that this node takes, of another region or of a "+
			"sibling; absent, as those below, if it takes none.", "phase")
	copyDone = Declare(Gauge, "mimir_copy_done_bytes",
		"Bytes of it that were gone through in this phase, or need not come any more; absent if unknown.")
	copyTotal = Declare(Gauge, "mimir_copy_total_bytes", "Bytes that there are of it; absent if unknown.")
	copyRate  = Declare(Gauge, "mimir_copy_bytes_per_second",
		"Pace of the last half minute; absent if unknown.")
	copyLeft = Declare(Gauge, "mimir_copy_left_seconds",
		"Seconds that the rest of this phase takes at the pace so far; absent if unknown, as while nothing comes.")
	copyQuiet = Declare(Gauge, "mimir_copy_quiet_seconds", "Seconds since something of it last came.")
)

func collectTransfer(out chan<- prometheus.Metric, h *replication.HealthStatus) {
	if b := h.Bootstrap; b != nil {
		bootstrap.Set(out, 1, string(b.Phase))
	}
	t := h.Transfer
	if t == nil {
		return
	}
	copyPhase.Set(out, 1, string(t.Phase))
	if t.DoneBytes != nil {
		copyDone.Set(out, float64(*t.DoneBytes))
	}
	if t.TotalBytes != nil {
		copyTotal.Set(out, float64(*t.TotalBytes))
	}
	if t.BytesPerSecond != nil {
		copyRate.Set(out, *t.BytesPerSecond)
	}
	if t.LeftSeconds != nil {
		copyLeft.Set(out, *t.LeftSeconds)
	}
	copyQuiet.Set(out, t.QuietSeconds)
}
