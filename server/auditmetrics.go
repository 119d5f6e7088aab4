package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// auditMetrics are the figures of the audit log, read when they are scraped.
type auditMetrics struct {
	telemetry.Unchecked
	audit *operator.Audit
}

var (
	operatorCalls = telemetry.Declare(telemetry.Counter, "mimir_operator_calls_total",
		"Operators' calls by how they went on: begun, of those that take long; done; failed; refused.", "outcome")
	auditFailures = telemetry.Declare(telemetry.Counter, "mimir_audit_log_failures_total",
		"Lines that the audit log could not be written.")
)

// Collect implements prometheus.Collector.
func (m auditMetrics) Collect(out chan<- prometheus.Metric) {
	f := m.audit.Figures()
	for outcome, n := range f.Outcomes {
		operatorCalls.Set(out, float64(n), outcome)
	}
	auditFailures.Set(out, float64(f.Failures))
}
