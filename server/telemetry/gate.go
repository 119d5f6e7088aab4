package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication"
)

// Of what the lag gate holds back.
var (
	gateDelay = Declare(Gauge, "mimir_lag_gate_delay_seconds",
		"At the leader of the primary: for how long a batch of writes waits for the one before it, since other "+
			"regions are behind; 0 while they are taken as they come, and while they are refused.")
	gateRefuses = Declare(Gauge, "mimir_lag_gate_refuses",
		"Likewise: 1 if writes are refused, since other regions are too far behind.")
)

func collectGate(out chan<- prometheus.Metric, g *replication.GateStatus) {
	delay, refuses := 0.0, 0.0
	if g != nil {
		delay = g.DelaySeconds
		if g.Refuses {
			refuses = 1
		}
	}
	gateDelay.Set(out, delay)
	gateRefuses.Set(out, refuses)
}
