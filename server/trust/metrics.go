package trust

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	expiry = prometheus.NewDesc("mimir_tls_expiry_seconds",
		"When a certificate in use expires, in seconds since 1970, by block of the settings and kind: certificate; "+
			"revocations, a list of revoked ones, when the next is due; "+
			"chain, what stands behind one in its file; authority.",
		[]string{"block", "kind", "subject", "serial"}, nil)
	replacements = prometheus.NewDesc("mimir_tls_replacements_total",
		"Replacements found in the files of TLS: taken, or refused because they could not be used.",
		[]string{"block", "kind", "result"}, nil)
	stale = prometheus.NewDesc("mimir_tls_replacement_refused",
		"1 while the files of TLS have something that cannot be used, and the former stays in use.",
		[]string{"block", "kind"}, nil)
)

// Describe implements prometheus.Collector.
func (k *Keeper) Describe(out chan<- *prometheus.Desc) {
	out <- expiry
	out <- replacements
	out <- stale
}

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
			out <- prometheus.MustNewConstMetric(expiry, prometheus.GaugeValue, float64(c.NotAfter.Unix()),
				labels[:]...)
		}
	}
	wrong := 0.0
	if problem != "" {
		wrong = 1
	}
	s.mu.Lock()
	taken, refused := float64(s.taken), float64(s.refused)
	s.mu.Unlock()
	for result, n := range map[string]float64{"taken": taken, "refused": refused} {
		out <- prometheus.MustNewConstMetric(replacements, prometheus.CounterValue, n, s.block, s.kind, result)
	}
	out <- prometheus.MustNewConstMetric(stale, prometheus.GaugeValue, wrong, s.block, s.kind)
}
