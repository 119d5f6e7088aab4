package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mimir-kv/mimir/server/telemetry"
)

// serveHTTP serves metrics and health, if they are wanted. What it returns is closed when that is over.
func (c *crew) serveHTTP() <-chan struct{} {
	over := make(chan struct{})
	if c.ports.http == nil {
		close(over)
		return over
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), doorMetrics{doors: c.ports.doors},
		c.ports.keeper, crewMetrics{crew: c})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scraping(registry))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { probe(w, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		fleets := r.URL.Query()["fleet"]
		for _, fleet := range fleets {
			if !slices.ContainsFunc(c.seats, func(s *seat) bool { return s.fleet == fleet }) {
				http.Error(w, "no such fleet", http.StatusNotFound)
				return
			}
		}
		probe(w, c.problem(fleets))
	})
	c.ports.web = newHTTPServer(fromPages(mux, hostsOf(c.options.ListenHTTP), nil), c.options.Logger)
	go func() {
		defer close(over)
		if err := c.ports.web.Serve(c.ports.http); !errors.Is(err, http.ErrServerClosed) {
			c.options.Logger.Error("listen-http no longer serves", "err", err)
		}
	}()
	return over
}

// votes reports whether the voter serves, and was not found out to have forgotten votes. The caller holds the crew's
// mu.
func (s *seat) votes() bool { return s.witness != nil && s.witness.Lost() == nil }

// problem says which of these fleets are not served, and why; of all if none is given. Empty if all are.
func (c *crew) problem(fleets []string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, s := range c.seats {
		switch {
		case len(fleets) > 0 && !slices.Contains(fleets, s.fleet) || s.votes():
		case s.witness != nil:
			list = append(list, "fleet "+s.fleet+": "+s.witness.Lost().Error())
		case s.why == nil:
			list = append(list, "fleet "+s.fleet+": begins")
		case len(c.seats) == 1:
			list = append(list, "fleet "+s.fleet+": "+s.why.Error())
		default:
			list = append(list, s.why.Error())
		}
	}
	return strings.Join(list, "\n")
}

// crewMetrics are the figures of a witness, read when they are scraped.
type crewMetrics struct {
	telemetry.Unchecked
	*crew
}

var (
	witnessServing = telemetry.Declare(telemetry.Gauge, "mimir_witness_serving",
		"1 if the witness votes in the fleet, 0 if it cannot; its log says why.", "fleet", "name")
	witnessEpoch = telemetry.Declare(telemetry.Gauge, "mimir_witness_epoch",
		"Epoch of the last vote of the witness in the fleet; absent while it is not served.", "fleet", "name")
)

// Collect implements prometheus.Collector.
func (m crewMetrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seats {
		if s.witness != nil {
			witnessEpoch.Set(out, float64(s.witness.Promised()), s.fleet, s.name)
		}
		witnessServing.SetTruth(out, s.votes(), s.fleet, s.name)
	}
}
