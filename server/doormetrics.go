package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/door"
)

// doorMetrics are the figures of the doors, read when they are scraped.
type doorMetrics []*door.Door

var (
	connectionsOpen = prometheus.NewDesc("mimir_connections", "Connections open, by listener.",
		[]string{"listener"}, nil)
	connectionsMost = prometheus.NewDesc("mimir_connections_limit", "Connections that a listener takes at most.",
		[]string{"listener"}, nil)
	connectionsRefused = prometheus.NewDesc("mimir_connections_refused_total",
		"Connections closed by a listener: full; stranger, which did not show in time what it is or made room for "+
			"another; system, which gave no descriptor or memory; handshake, which failed.",
		[]string{"listener", "reason"}, nil)
)

// Describe implements prometheus.Collector.
func (m doorMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- connectionsOpen
	out <- connectionsMost
	out <- connectionsRefused
}

// Collect implements prometheus.Collector.
func (m doorMetrics) Collect(out chan<- prometheus.Metric) {
	for _, d := range m {
		f := d.Figures()
		out <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(f.Open), f.Name)
		out <- prometheus.MustNewConstMetric(connectionsMost, prometheus.GaugeValue, float64(f.Most), f.Name)
		for reason, n := range f.Refused {
			out <- prometheus.MustNewConstMetric(connectionsRefused, prometheus.CounterValue, float64(n), f.Name,
				reason)
		}
	}
}
