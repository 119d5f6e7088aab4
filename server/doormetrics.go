package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// doorMetrics are the figures of the doors, read when they are scraped.
type doorMetrics struct {
	telemetry.Unchecked
	doors []*door.Door
}

var (
	connectionsOpen = telemetry.Declare(telemetry.Gauge, "mimir_connections", "Connections open, by listener.",
		"listener")
	connectionsMost = telemetry.Declare(telemetry.Gauge, "mimir_connections_limit",
		"Connections that a listener takes at most.", "listener")
	connectionsRefused = telemetry.Declare(telemetry.Counter, "mimir_connections_refused_total",
		"Connections closed by a listener: full; stranger, which did not show in time what it is or made room for "+
			"another; idle, which had asked nothing for longest where there was no room for another; system, which "+
			"gave no descriptor or memory; handshake, which failed; "+
			"toll, of an address from which too many came to nothing; waits, which a newcomer did where more came "+
			"than are looked at, and who was let in or closed for another reason; trifles, on which nothing was "+
			"asked, but frames were sent that ask for nothing; late, of which a request ended that did not come "+
			"in time, and which stayed; much, which stayed too, and of which a request was refused because more "+
			"was kept of its client than of others.", "listener", "reason")
)

// Collect implements prometheus.Collector.
func (m doorMetrics) Collect(out chan<- prometheus.Metric) {
	for _, d := range m.doors {
		f := d.Figures()
		connectionsOpen.Set(out, float64(f.Open), f.Name)
		connectionsMost.Set(out, float64(f.Most), f.Name)
		for reason, n := range f.Refused {
			connectionsRefused.Set(out, float64(n), f.Name, reason)
		}
	}
}
