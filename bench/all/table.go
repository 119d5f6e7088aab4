package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// table is a result in Markdown.
func table(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n`%s`\n\n%s, %s, %d processors", r.Command, r.Date, r.Machine.System, r.Machine.Processors)
	if r.Machine.Model != "" {
		fmt.Fprintf(&b, " (%s)", r.Machine.Model)
	}
	fmt.Fprintf(&b, "; three nodes of each, the echo server and the client on it; %d keys, values of %d bytes, "+
		"medians of %d rounds of %v", r.Keys, valueBytes, r.Rounds, r.Lasting.Round(100*time.Millisecond))
	if !r.Whole {
		b.WriteString("; **the run ended before its last round**")
	}
	fmt.Fprintf(&b, ". The machine: the same arithmetic took %.0f ms, at least %.0f, at most %.0f", r.Spin.Median/1e6,
		r.Spin.Least/1e6, r.Spin.Most/1e6)
	if r.Spin.Noise() > quiet {
		b.WriteString(": **it was not quiet**, and figures that differ by less than its noise say nothing")
	}
	b.WriteString(".\n\n")
	b.WriteString("| operation | clients | Mimir | ± | etcd | ± | ratio | of echo | p99, Mimir and etcd | " +
		"processor a request, Mimir and etcd | arithmetic ± |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range r.Cases {
		r.Cases[i].row(&b)
	}
	b.WriteString("\n")
	return b.String()
}

// quiet is how far the arithmetic of a quiet machine is apart at most.
const quiet = 0.25

// row is a line of the table.
func (c *Case) row(b *strings.Builder) {
	ours, theirs, bound := c.figure("mimir"), c.figure("etcd"), c.figure("echo")
	fmt.Fprintf(b, "| %s | %d |", c.Name, c.Clients)
	for _, f := range []*Figure{ours, theirs} {
		if f == nil {
			b.WriteString(" – | – |")
			continue
		}
		failed := ""
		if f.Errors > 0 {
			failed = fmt.Sprintf(" (%d errors)", f.Errors)
		}
		fmt.Fprintf(b, " %.0f/s, %s%s | %.0f %% |", f.PerSecond.Median, brief(f.P50), failed, 100*f.PerSecond.Noise())
	}
	fmt.Fprintf(b, " %s | %s |", ratio(ours, theirs), ratio(ours, bound))
	fmt.Fprintf(b, " %s, %s |", p99(ours), p99(theirs))
	fmt.Fprintf(b, " %s, %s |", cost(ours), cost(theirs))
	fmt.Fprintf(b, " %s |\n", arithmetic(c))
}

func ratio(a, b *Figure) string {
	if a == nil || b == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", a.PerSecond.Median/b.PerSecond.Median)
}

func p99(f *Figure) string {
	if f == nil {
		return "–"
	}
	return brief(f.P99)
}

func cost(f *Figure) string {
	if f == nil || f.PerRequest == 0 {
		return "–"
	}
	return fmt.Sprintf("%d µs", f.PerRequest.Microseconds())
}

// arithmetic is how far apart spin was before the measurements of a case.
func arithmetic(c *Case) string {
	var all []float64
	for _, f := range c.Sides {
		all = append(all, f.Spin.Least, f.Spin.Most)
	}
	return fmt.Sprintf("%.0f %%", 100*bench.SpreadOf(all).Noise())
}

func brief(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
