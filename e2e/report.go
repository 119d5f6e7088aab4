package e2e

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report prints what happens, one event a line, with the time since the start.
type report struct {
	out   io.Writer
	start time.Time
}

func (p *report) phase(name string) { fmt.Fprintf(p.out, "\n%s\n", name) }

func (p *report) line(format string, arguments ...any) {
	fmt.Fprintf(p.out, "%8.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, arguments...))
}

// spread describes times by their quantiles.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	slices.Sort(times)
	at := func(q float64) time.Duration { return short(times[int(q*float64(len(times)-1))]) }
	return fmt.Sprintf("median %s, 99%% %s, longest %s", at(0.5), at(0.99), at(1))
}

// short rounds a time to what a reader wants to know.
func short(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	default:
		return d.Round(100 * time.Microsecond)
	}
}

func perSecond(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
