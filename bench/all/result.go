package main

import (
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// Result is what a run measured. It stands beside the document that is made of it.
type Result struct {
	Command string        `json:"command"` // that made it
	Date    string        `json:"date"`
	Machine bench.Machine `json:"machine"`
	Keys    int           `json:"keys"`
	Rounds  int           `json:"rounds"`
	Lasting time.Duration `json:"lastingNanos"` // of one measurement
	Whole   bool          `json:"whole"`        // no round was left out
	Spin    bench.Spread  `json:"spin"`         // over the whole run, in nanoseconds
	// Sync is what it took to write 4 KiB over others and sync them, in nanoseconds; nil where that was not measured.
	Sync  *bench.Spread `json:"syncNanos,omitempty"`
	Cases []Case        `json:"cases"`
	Goals []goals.Goal  `json:"goals,omitempty"`
}

// Case is one thing on all sides.
type Case struct {
	Name    string   `json:"name"`
	Clients int      `json:"clients"`
	Sides   []Figure `json:"sides"` // in order: mimir, etcd, echo
}

// Figure is one side of a case: medians over the rounds, and how far these were apart.
type Figure struct {
	Side      string        `json:"side"`
	PerSecond bench.Spread  `json:"perSecond"`
	P50       time.Duration `json:"p50Nanos"`
	P99       time.Duration `json:"p99Nanos"`
	// PerRequest is the servers' processor time, 0 where the system does not say.
	PerRequest time.Duration `json:"processorPerRequestNanos"`
	Spin       bench.Spread  `json:"spin"` // before these measurements
	Errors     uint64        `json:"errors"`
	// Longest is the longest request of all rounds.
	Longest time.Duration `json:"longestNanos,omitempty"`
}

// sample is one measurement of a case on a side.
type sample struct {
	*bench.Measurement
	spin      time.Duration
	processor time.Duration
}

// figureOf sums up the rounds of a side.
func figureOf(side string, samples []sample) Figure {
	f := Figure{Side: side}
	var rates, p50, p99, each, spins []float64
	for _, s := range samples {
		rates, spins = append(rates, s.PerSecond), append(spins, float64(s.spin))
		p50, p99 = append(p50, float64(s.P50)), append(p99, float64(s.P99))
		if s.processor > 0 && s.Done > 0 {
			each = append(each, float64(s.processor)/float64(s.Done))
		}
		f.Errors += s.Errors
		f.Longest = max(f.Longest, s.Max)
	}
	f.PerSecond, f.Spin = bench.SpreadOf(rates), bench.SpreadOf(spins)
	f.P50, f.P99 = time.Duration(bench.SpreadOf(p50).Median), time.Duration(bench.SpreadOf(p99).Median)
	f.PerRequest = time.Duration(bench.SpreadOf(each).Median)
	return f
}

// figure returns that of a side, nil if it was not measured.
func (c *Case) figure(side string) *Figure {
	for i := range c.Sides {
		if c.Sides[i].Side == side && c.Sides[i].PerSecond.Median > 0 {
			return &c.Sides[i]
		}
	}
	return nil
}
