package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// occurrences counts how often the faults of each kind really happened. It is safe for concurrent use.
type occurrences struct {
	mu    sync.Mutex
	times map[string]int
}

func newOccurrences() *occurrences { return &occurrences{times: map[string]int{}} }

func (o *occurrences) note(kind string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.times[kind]++
}

func (o *occurrences) of(kind string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.times[kind]
}

// Count is of one kind of faults, or of one crash point.
type Count struct {
	On       int // seeds in which it was on
	Happened int // of these, seeds in which it happened
	Times    int // how often it did
}

// Tally counts kinds of faults over many seeds. A kind that is on and never happens tests nothing.
type Tally map[string]Count

// Add counts another tally in.
func (t Tally) Add(o Tally) {
	for kind, n := range o {
		c := t[kind]
		t[kind] = Count{c.On + n.On, c.Happened + n.Happened, c.Times + n.Times}
	}
}

// String returns a table, a line for each kind that was on, and for each crash point that was armed.
func (t Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %9s %9s %9s\n", "kind", "seeds on", "happened", "times")
	kinds := Injections()
	for _, at := range crashPoints() {
		kinds = append(kinds, at.String())
	}
	for _, kind := range kinds {
		if c := t[kind]; c.On > 0 {
			fmt.Fprintf(&b, "%-14s %9d %9d %9d\n", kind, c.On, c.Happened, c.Times)
		}
	}
	return b.String()
}

// Least returns the kind that happened in the fewest seeds of all.
func (t Tally) Least() (kind string, happened int) {
	kind = slices.MinFunc(Injections(), func(a, b string) int { return cmp.Compare(t[a].Happened, t[b].Happened) })
	return kind, t[kind].Happened
}

// Missed returns the crash points at which the power never failed.
func (t Tally) Missed() (points []string) {
	for _, at := range crashPoints() {
		if t[at.String()].Happened == 0 {
			points = append(points, at.String())
		}
	}
	return points
}

// tally is that of one run.
func (f *fleet) tally() Tally {
	t := Tally{}
	for kind := range f.plan.inject {
		c := Count{On: 1, Times: f.happened.of(kind)}
		c.Happened = min(c.Times, 1)
		t[kind] = c
	}
	f.crashes.tally(f.happened, t)
	return t
}
