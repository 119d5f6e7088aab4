package bench

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Calibration is about how long Spin takes on a machine of these years that does nothing else.
const Calibration = 60 * time.Millisecond

// spun keeps the arithmetic from being left out.
var spun atomic.Uint64

// Spin times a fixed piece of arithmetic in one thread: it takes longer by what others take of the processor.
func Spin() time.Duration {
	began := time.Now()
	x := uint64(88172645463325252)
	for range 40_000_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	spun.Add(x)
	return time.Since(began)
}

// Machine is where a run was made.
type Machine struct {
	System     string `json:"system"`
	Processors int    `json:"processors"`
	Model      string `json:"model,omitempty"`
}

// ThisMachine is where this process runs.
func ThisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU()}
	p, _ := os.ReadFile("/proc/cpuinfo") // elsewhere it is not there
	for line := range strings.Lines(string(p)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// Spread is a median and what lay farthest from it.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// Noise is how far apart the ends are, as a part of the median.
func (s Spread) Noise() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Most - s.Least) / s.Median
}

// SpreadOf sums up values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Spread{median(sorted), sorted[0], sorted[len(sorted)-1]}
}

// median is the median of what is sorted.
func median(sorted []float64) float64 {
	n := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[n]
	}
	return (sorted[n-1] + sorted[n]) / 2
}
