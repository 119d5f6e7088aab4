package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Of the pages about health.
var (
	healthPassed = Declare(Counter, "etcd_server_health_success", "Answers of /health that said true.")
	healthFailed = Declare(Counter, "etcd_server_health_failures", "Answers of /health that said false.")
	checkLast    = Declare(Gauge, "etcd_server_healthcheck",
		"1 if the check of /livez or /readyz was passed when it was made last; there once it was.", "type", "name")
	checkTotal = Declare(Counter, "etcd_server_healthchecks_total", "Checks of /livez and /readyz: success, error.",
		"type", "name", "status")
)

// Checks counts what the pages about health say. The zero value has counted nothing. It is safe for concurrent use.
type Checks struct {
	Unchecked

	mu     sync.Mutex
	counts map[[2]string]*checkCount // by page and check, which the code names
}

type checkCount struct {
	passed, failed uint64
	last           bool
}

// Note notes a check.
func (c *Checks) Note(page, check string, passed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[[2]string]*checkCount{}
	}
	one := c.counts[[2]string{page, check}]
	if one == nil {
		one = new(checkCount)
		c.counts[[2]string{page, check}] = one
	}
	one.last = passed
	if passed {
		one.passed++
	} else {
		one.failed++
	}
}

// Collect implements prometheus.Collector.
func (c *Checks) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	whole := checkCount{}
	for of, n := range c.counts {
		if of[1] == "" {
			whole = *n
			continue
		}
		checkLast.SetTruth(out, n.last, of[:]...)
		checkTotal.Set(out, float64(n.passed), of[0], of[1], "success")
		checkTotal.Set(out, float64(n.failed), of[0], of[1], "error")
	}
	healthPassed.Set(out, float64(whole.passed))
	healthFailed.Set(out, float64(whole.failed))
}
