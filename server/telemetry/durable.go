package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Of writes that wait for other regions.
var (
	durableWrites = Declare(Counter, "mimir_durable_writes_total",
		"Writes of clients of this node that asked for other regions, by how (regions, quorum, all) and what came of "+
			"it: had; late, which were committed, and not known in time to be there; refused, since that cannot be "+
			"had or too many wait, and not written; failed, for another reason.", "durability", "outcome")
	durableTook = Declare(Histogram, "mimir_durable_write_seconds",
		"Time until a write of mimir_durable_writes_total was answered that was had or late.", "durability")
)

// durableBuckets begin at a millisecond.
var durableBuckets = prometheus.ExponentialBuckets(0.001, 2, 16)

// Durable counts and times writes that wait for other regions. The zero value has counted nothing. It is safe for
// concurrent use.
type Durable struct {
	Unchecked

	mu   sync.Mutex
	each map[string]*durability // by how it was asked for, which the code names
}

type durability struct {
	outcomes map[string]uint64
	took     prometheus.Histogram
}

// Note notes a write that has ended.
func (d *Durable) Note(how, outcome string, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.each == nil {
		d.each = map[string]*durability{}
	}
	one := d.each[how]
	if one == nil {
		one = &durability{outcomes: map[string]uint64{}, took: durableTook.histogram(durableBuckets, how)}
		d.each[how] = one
	}
	one.outcomes[outcome]++
	if outcome == "had" || outcome == "late" {
		one.took.Observe(took.Seconds())
	}
}

// Collect implements prometheus.Collector.
func (d *Durable) Collect(out chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for how, one := range d.each {
		for outcome, n := range one.outcomes {
			durableWrites.Set(out, float64(n), how, outcome)
		}
		one.took.Collect(out)
	}
}
