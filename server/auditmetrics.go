package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/operator"
)

// auditMetrics are the figures of the audit log, read when they are scraped.
type auditMetrics struct{ audit *operator.Audit }

var (
	operatorCalls = prometheus.NewDesc("mimir_operator_calls_total",
		"Operators' calls by how they went on: begun, of those that take long; done; failed; refused.",
		[]string{"outcome"}, nil)
	auditFailures = prometheus.NewDesc("mimir_audit_log_failures_total",
		"Lines that the audit log could not be written.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m auditMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- operatorCalls
	out <- auditFailures
}

// Collect implements prometheus.Collector.
func (m auditMetrics) Collect(out chan<- prometheus.Metric) {
	f := m.audit.Figures()
	for outcome, n := range f.Outcomes {
		out <- prometheus.MustNewConstMetric(operatorCalls, prometheus.CounterValue, float64(n), outcome)
	}
	out <- prometheus.MustNewConstMetric(auditFailures, prometheus.CounterValue, float64(f.Failures))
}
