package goals

import (
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/profile"
)

// Verdict is how a figure stands beside its bound.
type Verdict string

// Verdicts.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	Stated      Verdict = "stated" // there is no bound: it is wanted that it is known
	NotMeasured Verdict = "not measured in this run"
)

// Goal is a point of what is wanted.
type Goal struct {
	Number   int       `json:"number"`
	Name     string    `json:"name"`
	Size     string    `json:"size,omitempty"` // at which it was measured
	Figures  []Figure  `json:"figures"`
	Profiles []Profile `json:"profiles,omitempty"` // of loads under which a figure was missed
}

// Figure is one thing that a goal asks for.
type Figure struct {
	Name    string       `json:"name"`
	Unit    string       `json:"unit,omitempty"`
	Value   float64      `json:"value"`
	Of      string       `json:"of,omitempty"` // what the value is made of
	Bound   Bound        `json:"bound,omitzero"`
	Noise   float64      `json:"noise"` // how far apart the rounds were, as a part of the value
	Spin    bench.Spread `json:"spin"`  // before these measurements, in nanoseconds
	Load    string       `json:"load"`  // under which it was measured
	Verdict Verdict      `json:"verdict"`
	Why     string       `json:"why,omitempty"` // it was not measured
}

// Profile is where the processor time of the nodes went under a load, or who had their heap then.
type Profile struct {
	Load   string          `json:"load"`
	Whole  time.Duration   `json:"wholeNanos,omitempty"` // processor time
	Heap   int64           `json:"heapBytes,omitempty"`
	Shares []profile.Share `json:"shares,omitempty"`
	Why    string          `json:"why,omitempty"` // there is none
}

// Bound is what a value is to stay within.
type Bound struct {
	Kind  string  `json:"kind,omitempty"`
	Value float64 `json:"value"`
}

// Kinds of a bound.
const (
	most  = "at most"
	least = "at least"
)

// atMost and atLeast are bounds that hold for the value itself too.
func atMost(v float64) Bound  { return Bound{most, v} }
func atLeast(v float64) Bound { return Bound{least, v} }

// verdict is that of a value which was measured.
func (b Bound) verdict(v float64) Verdict {
	switch {
	case b.Kind == "":
		return Stated
	case b.Kind == most && v <= b.Value, b.Kind == least && v >= b.Value:
		return Met
	}
	return Missed
}

// Point is a value over the rounds, with what the arithmetic took before each of them. Without a value it was not
// measured.
type Point struct {
	Value, Spin bench.Spread
	Failed      string // it could not be measured, since what was asked for was refused
}

// known reports whether there is a value.
func (p Point) known() bool { return p.Value.Median > 0 }

// wanted is a figure that has not been measured yet.
func wanted(name, unit string, b Bound, load string) Figure {
	return Figure{Name: name, Unit: unit, Bound: b, Load: load, Verdict: NotMeasured}
}

// is gives a figure its value, made of points.
func (f Figure) is(v float64, of string, points ...Point) Figure {
	f.Value, f.Of, f.Verdict = v, of, f.Bound.verdict(v)
	var spins []float64
	for _, p := range points {
		f.Noise += p.Value.Noise()
		spins = append(spins, p.Spin.Least, p.Spin.Median, p.Spin.Most)
	}
	f.Spin = bench.SpreadOf(spins)
	return f
}

// Because says why what has no value has none.
func (g *Goal) Because(why string) {
	for i := range g.Figures {
		if f := &g.Figures[i]; f.Verdict == NotMeasured && f.Why == "" {
			f.Why = why
		}
	}
}

// MissedLoads are the loads under which a figure was missed, each once.
func (g *Goal) MissedLoads() (loads []string) {
	seen := map[string]bool{}
	for i := range g.Figures {
		if f := &g.Figures[i]; f.Verdict == Missed && !seen[f.Load] {
			seen[f.Load] = true
			loads = append(loads, f.Load)
		}
	}
	return loads
}

// millis is a duration as figures have it.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
