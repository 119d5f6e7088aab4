package trust

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/telemetry"
)

var (
	expiry = telemetry.Declare(telemetry.Gauge, "mimir_tls_expiry_seconds",
		"When a certificate in use expires, in seconds since 1970, by block of the settings and kind: certificate; "+
			"revocations, a list of revoked ones, when the next is due; "+
			"chain, what stands behind one in its file; authority.", "block", "kind", "subject", "serial")
	replacements = telemetry.Declare(telemetry.Counter, "mimir_tls_replacements_total",
		"Replacements found in the files of TLS: taken, or refused because they could not be used.",
		"block", "kind", "result")
	stale = telemetry.Declare(telemetry.Gauge, "mimir_tls_replacement_refused",
		"1 while the files of TLS have something that cannot be used, or are not read, as on a disk that hangs, and "+
			"the former stays in use.", "block", "kind")
)

// Describe sends nothing: certificates come and go.
func (k *Keeper) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (k *Keeper) Collect(out chan<- prometheus.Metric) {
	k.mu.Lock()
	sources := append([]*source(nil), k.sources...)
	k.mu.Unlock()
	now := time.Now()
	for _, s := range sources {
		s.collect(now, out)
	}
}

func (s *source) collect(now time.Time, out chan<- prometheus.Metric) {
	certificates, problem := s.report(now)
	told := map[[4]string]bool{} // a file may have one twice
	for _, c := range certificates {
		labels := [4]string{c.Block, c.Kind, c.Subject, c.Serial}
		if !told[labels] && !c.NotAfter.IsZero() {
			told[labels] = true
			expiry.Set(out, float64(c.NotAfter.Unix()), labels[:]...)
		}
	}
	s.mu.Lock()
	taken, refused := float64(s.taken), float64(s.refused)
	s.mu.Unlock()
	for result, n := range map[string]float64{"taken": taken, "refused": refused} {
		replacements.Set(out, n, s.block, s.kind, result)
	}
	stale.SetTruth(out, problem != "", s.block, s.kind)
}
