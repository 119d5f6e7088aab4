package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// env is what goals are measured with.
type env struct {
	*settings
	say      io.Writer
	chosen   map[int]bool
	spaces   map[int]*space
	resident map[string]goals.Point // megabytes, by side, after the operations
	held     []goals.Profile        // by the heaps of Mimir's nodes then
}

// goalsOfOperations are judged by what was measured with the operations.
var goalsOfOperations = []int{3, 4}

// goalsOfTheirOwn are those for which servers are started, in the order in which they are measured.
var goalsOfTheirOwn = []struct {
	number  int
	measure func(*env, context.Context) (goals.Goal, error)
}{
	{1, (*env).measurePaging},
	{9, (*env).measureRestart},
	{8, (*env).measureSecond},
	{6, (*env).measureWatches},
	{7, (*env).measureLeases},
	{2, (*env).measureMemory},
}

// errNoTime says why what comes too late is not measured.
var errNoTime = errors.New("the time was up")

// measureGoals measures those that were chosen, one after the other. None keeps the others from being measured, and
// none but the last takes more than half of the time that is left.
func (e *env) measureGoals(ctx context.Context) (all []goals.Goal) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.scale.limit, errNoTime)
	defer cancel()
	e.spaces = map[int]*space{}
	defer e.closeSpaces()
	mine := goalsOfTheirOwn[:0:0]
	for _, g := range goalsOfTheirOwn {
		if e.chosen[g.number] {
			mine = append(mine, g)
		}
	}
	for i, g := range mine {
		if g.number != 1 && g.number != 9 {
			e.closeSpaces()
		}
		end, _ := ctx.Deadline()
		within := time.Until(end)
		if i < len(mine)-1 {
			within /= 2
		}
		began := time.Now()
		own, done := context.WithTimeoutCause(ctx, within, errNoTime)
		goal, err := g.measure(e, own)
		if err != nil {
			if own.Err() != nil {
				err = errors.Join(context.Cause(own), err)
			}
			goal.Because(err.Error())
			fmt.Fprintf(e.say, "goal %d: %v\n", g.number, err)
		}
		done()
		fmt.Fprintf(e.say, "goal %d took %v\n", g.number, time.Since(began).Round(time.Second))
		all = append(all, goal)
	}
	return all
}

// series are the values of a point so far.
type series struct {
	values, spins []float64
	failed        string
}

func (s *series) add(value float64, spin time.Duration) {
	s.values, s.spins = append(s.values, value), append(s.spins, float64(spin))
}

func (s *series) point() goals.Point {
	return goals.Point{Value: bench.SpreadOf(s.values), Spin: bench.SpreadOf(s.spins), Failed: s.failed}
}

// profileMissed loads the nodes once more for a profile of each load under which a figure was missed.
func (e *env) profileMissed(ctx context.Context, g *goals.Goal, nodes []profiled, again func(load string) work) {
	for _, load := range g.MissedLoads() {
		do := again(load)
		if do == nil {
			continue
		}
		g.Profiles = append(g.Profiles, e.profile(ctx, load, nodes, do))
	}
}

// work is a load that goes on for about that long, or until its context ends.
type work func(ctx context.Context, lasts time.Duration) error

// missedOf are the profiles of loads under which a figure was missed.
func missedOf(g *goals.Goal, all []goals.Profile) (kept []goals.Profile) {
	missed := g.MissedLoads()
	for _, p := range all {
		if slices.Contains(missed, p.Load) {
			kept = append(kept, p)
		}
	}
	return kept
}

// notMeasured is why figures of the operations are not there.
const notMeasured = "the operation was not measured"
