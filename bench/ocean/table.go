package main

import (
	"fmt"
	"strings"
	"time"
)

const (
	quiet  = 0.25                 // how far the arithmetic of a quiet machine is apart at most
	onTime = 2 * time.Millisecond // how late packets may be on a line that is one
)

// table is a result in Markdown.
func table(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n`%s`\n\n%s, %s, %d processors", r.Command, r.Date, r.Machine.System, r.Machine.Processors)
	if r.Machine.Model != "" {
		fmt.Fprintf(&b, " (%s)", r.Machine.Model)
	}
	fmt.Fprintf(&b, ". The line: %v round trip, %d Mbit/s in each direction, %.2g %% of packets lost, "+
		"a queue of %d kB. Two regions, nodes in each: %d; a backlog of %d MB; "+
		"rounds: %d", 2*r.Line.Delay, r.Line.Rate/1_000_000,
		100*r.Line.Loss, r.Line.Queue/1000, r.Nodes, r.Backlog, r.Rounds)
	if !r.Whole {
		b.WriteString("; **the run ended before its last round**")
	}
	if r.TCP != "" {
		fmt.Fprintf(&b, ". Plain TCP by %s", r.TCP)
	}
	fmt.Fprintf(&b, ". The machine: the same arithmetic took %.0f ms, at least %.0f, at most %.0f",
		r.Spin.Median/1e6, r.Spin.Least/1e6, r.Spin.Most/1e6)
	if r.Spin.Noise() > quiet {
		b.WriteString(": **it was not quiet**")
	}
	fmt.Fprintf(&b, "; of all packets 99 %% were late by no more than %v", r.LateP99.Round(10*time.Microsecond))
	if r.LateP99 > onTime {
		b.WriteString(": **the line was not what it says**")
	}
	b.WriteString(".\n\n| what | median | least – most | part of its peer | least – most | peer |\n" +
		"|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		row.line(&b)
	}
	b.WriteString("\n")
	return b.String()
}

func (r *Row) line(b *strings.Builder) {
	v := r.Value
	fmt.Fprintf(b, "| %s | %s %s | %s – %s |", r.Name, short(v.Median), r.Unit, short(v.Least), short(v.Most))
	if r.Peer == "" || r.Part.Median == 0 {
		b.WriteString(" – | – | – |\n")
		return
	}
	p := r.Part
	fmt.Fprintf(b, " %.2f | %.2f – %.2f | %s |\n", p.Median, p.Least, p.Most, r.Peer)
}

func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
