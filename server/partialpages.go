package server

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// pages are what a node of a partial region serves over HTTP.
func (n *partialNode) pages() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), doorMetrics{doors: n.doors}, n.keeper,
		sinkMetrics{standing: n.sink.Standing})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scraping(registry))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { probe(w, "") })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		s := n.sink.Standing()
		if s.Shows {
			s.Problem = ""
		}
		probe(w, s.Problem)
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /health", ready)
	mux.HandleFunc("GET "+admin.PartialPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(n.sink.Standing()) //nolint:errcheck // the client is gone
	})
	mux.HandleFunc("/mimir/v1/", func(w http.ResponseWriter, _ *http.Request) {
		s := n.sink.Standing()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(admin.Error{Text: "this is a node of partial region " + s.Region + //nolint:errcheck
			", which follows only " + n.sink.Prefixes().String() + ": mimir partial status asks it how it is, and " +
			"the fleet is asked at a node of a full region"})
	})
	return mux
}

var (
	partialShows = telemetry.Declare(telemetry.Gauge, "mimir_partial_shows",
		"1 if a node of a partial region may show what it holds, 0 if it has not come to where the fleet is since it "+
			"started, or takes a copy anew.", "partial", "node")
	partialLag = telemetry.Declare(telemetry.Gauge, "mimir_partial_lag_seconds",
		"How old what a node of a partial region holds is at most, at the primary; absent while it is not known.",
		"partial", "node")
	partialRevision = telemetry.Declare(telemetry.Gauge, "mimir_partial_revision",
		"Revision of the fleet up to which a node of a partial region has everything that it follows.", "partial",
		"node")
	partialCopies = telemetry.Declare(telemetry.Counter, "mimir_partial_copies_total",
		"Copies that a node of a partial region has taken since it started.", "partial", "node")
	partialDiffered = telemetry.Declare(telemetry.Counter, "mimir_partial_differed_total",
		"How often sums of what a node of a partial region holds differed from its source's.", "partial", "node")
	followerLag = telemetry.Declare(telemetry.Gauge, "mimir_partial_follower_lag_seconds",
		"How old what a node of a partial region holds is at most that follows this node; absent while it is not "+
			"known.", "partial", "node")
	followers = telemetry.Declare(telemetry.Gauge, "mimir_partial_followers",
		"Nodes of a partial region that follow this node, of each partial region that it knows.", "partial")
	followerRevision = telemetry.Declare(telemetry.Gauge, "mimir_partial_follower_revision",
		"Revision that a node of a partial region has that follows this node.", "partial", "node")
)

// sinkMetrics are the figures of a node of a partial region, read when they are scraped.
type sinkMetrics struct {
	telemetry.Unchecked
	standing func() partial.Standing
}

// Collect implements prometheus.Collector.
func (m sinkMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.standing()
	partialShows.SetTruth(out, s.Shows, s.Region, s.Node)
	if s.LagSeconds >= 0 {
		partialLag.Set(out, s.LagSeconds, s.Region, s.Node)
	}
	partialRevision.Set(out, float64(s.Revision), s.Region, s.Node)
	partialCopies.Set(out, float64(s.Copies), s.Region, s.Node)
	partialDiffered.Set(out, float64(s.Differed), s.Region, s.Node)
}

// followerMetrics are those of the partial regions that follow a node.
type followerMetrics struct {
	telemetry.Unchecked
	report func() []partial.Report
}

// Collect implements prometheus.Collector.
func (m followerMetrics) Collect(out chan<- prometheus.Metric) {
	for _, r := range m.report() {
		nodes := worstOfEach(r.Nodes)
		followers.Set(out, float64(len(nodes)), r.Name)
		for _, f := range nodes {
			if f.LagSeconds >= 0 {
				followerLag.Set(out, f.LagSeconds, r.Name, f.Node)
			}
			followerRevision.Set(out, float64(f.Revision), r.Name, f.Node)
		}
	}
}

// worstOfEach returns each node once: a series that is there twice is an error of all that is scraped. Two have one
// name for a while after a connection was cut, or where somebody named two alike; the one farther behind counts.
func worstOfEach(list []partial.Following) (worst []partial.Following) {
	for _, f := range list { // those of a name follow one another
		last := len(worst) - 1
		if last < 0 || worst[last].Node != f.Node {
			worst = append(worst, f)
			continue
		}
		w := &worst[last]
		w.Revision = min(w.Revision, f.Revision)
		if w.LagSeconds >= 0 && (f.LagSeconds < 0 || f.LagSeconds > w.LagSeconds) {
			w.LagSeconds = f.LagSeconds
		}
	}
	return worst
}
