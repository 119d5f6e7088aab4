package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Report is everything a run measured.
type Report struct {
	Clients      int           `json:"clients"`
	Connections  int           `json:"connections"`
	KeySpace     int           `json:"keySpace"`
	ValueBytes   int           `json:"valueBytes"`
	Measurements []Measurement `json:"measurements"`
	Summary      []Summary     `json:"summary"`
}

// Summary is the median over all rounds of one operation.
type Summary struct {
	Operation string `json:"operation"`
	A         Median `json:"a"`
	B         Median `json:"b,omitzero"`
	// Ratio is A's throughput over B's, 0 if only one side was measured.
	Ratio float64 `json:"ratio,omitempty"`
}

// Median is what one side did.
type Median struct {
	Side      string        `json:"side"`
	PerSecond float64       `json:"perSecond"`
	P50       time.Duration `json:"p50Nanos"`
	P99       time.Duration `json:"p99Nanos"`
	Errors    uint64        `json:"errors"`
}

// Summarize fills Summary from Measurements. sides gives the order: the first is A.
func (r *Report) Summarize(sides ...string) {
	var ops []string
	for _, m := range r.Measurements {
		if !slices.Contains(ops, m.Operation) {
			ops = append(ops, m.Operation)
		}
	}
	r.Summary = nil
	for _, op := range ops {
		s := Summary{Operation: op, A: r.median(sides[0], op)}
		if len(sides) > 1 {
			if s.B = r.median(sides[1], op); s.B.PerSecond > 0 {
				s.Ratio = s.A.PerSecond / s.B.PerSecond
			}
		}
		r.Summary = append(r.Summary, s)
	}
}

func (r *Report) median(side, op string) Median {
	out := Median{Side: side}
	var rates []float64
	var p50s, p99s []time.Duration
	for _, m := range r.Measurements {
		if m.Side == side && m.Operation == op {
			rates, p50s, p99s = append(rates, m.PerSecond), append(p50s, m.P50), append(p99s, m.P99)
			out.Errors += m.Errors
		}
	}
	out.PerSecond, out.P50, out.P99 = middle(rates), middle(p50s), middle(p99s)
	return out
}

// middle returns the median, of an even number the mean of the two in the middle, 0 of nothing.
func middle[T float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values) / 2
	if len(values)%2 == 1 {
		return values[n]
	}
	return (values[n-1] + values[n]) / 2
}

// Print writes the summary as a table.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%d clients, %d connections, %d keys, values of %d bytes; medians\n", r.Clients, r.Connections,
		r.KeySpace, r.ValueBytes)
	for _, s := range r.Summary {
		fmt.Fprintf(w, "%-16s %s", s.Operation, s.A)
		if s.B.Side != "" {
			fmt.Fprintf(w, "   %s   ratio %.2f", s.B, s.Ratio)
		}
		fmt.Fprintln(w)
	}
}

// String returns the figures of one side.
func (m Median) String() string {
	text := fmt.Sprintf("%s %.0f/s p50 %s p99 %s", m.Side, m.PerSecond, short(m.P50), short(m.P99))
	if m.Errors > 0 {
		text += fmt.Sprintf(" (%d errors)", m.Errors)
	}
	return text
}
