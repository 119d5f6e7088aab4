package tracing

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/telemetry"
)

var (
	spansTotal = telemetry.Declare(telemetry.Counter, "mimir_trace_spans_total", "Spans of requests that were "+
		"drawn: taken by the collector; lost, since it did not take them; left_out, since as many as "+
		"tracing.queue-spans waited. There if there is a collector.", "outcome")
	spansWaiting = telemetry.Declare(telemetry.Gauge, "mimir_trace_spans_waiting", "Spans that wait to be told to "+
		"the collector, or are on their way; likewise.")
	collectorFails = telemetry.Declare(telemetry.Gauge, "mimir_trace_collector_failing", "Whether the collector did "+
		"not take the last spans that it was sent; likewise.")
)

// Metrics are the figures of a Tracing, none of one that is nil.
type Metrics struct {
	telemetry.Unchecked
	Tracing *Tracing
}

// Collect implements prometheus.Collector.
func (m Metrics) Collect(out chan<- prometheus.Metric) {
	t := m.Tracing
	if t == nil {
		return
	}
	spansTotal.Set(out, float64(t.spans.exporter.taken.Load()), "taken")
	spansTotal.Set(out, float64(t.spans.exporter.lost.Load()), "lost")
	spansTotal.Set(out, float64(t.spans.leftOut.Load()), "left_out")
	spansWaiting.Set(out, float64(max(0, t.spans.waiting.Load())))
	collectorFails.SetTruth(out, t.spans.exporter.failing())
}
