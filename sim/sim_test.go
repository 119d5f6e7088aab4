package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	oneSeed   = flag.Uint64("sim.seed", 0, "run this seed alone")
	fromSeed  = flag.Uint64("sim.from", 1, "first seed")
	seedCount = flag.Int("sim.seeds", 0, "how many seeds; default 200, under the race detector 8")
	storageOf = flag.String("sim.storage", "", "ledger, volatile or kv; default: drawn from the seed")
	regionsOf = flag.Int("sim.regions", 0, "regions; default: drawn from the seed")
	inject    = flag.String("sim.inject", "", "further kinds of faults: all, drawn, or some of "+
		strings.Join(Injections(), ","))
	crashAt = flag.String("sim.crash", "",
		"the crash point to come to first, as \"within rewind\"; default: drawn from the seed, or any")
	tallyTo  = flag.String("sim.tally", "", "file to which TestSeeds writes how often each kind of fault happened")
	traceLen = flag.Int("sim.trace", 150, "lines of the story told with a failure")
	tellAll  = flag.Bool("sim.tell", false, "tell the story also of seeds that pass")
)

const defaultSeeds, raceSeeds = 200, 8

// How many seeds of each kind of injection TestInjected runs, and of several kinds at once.
const kindSeeds, drawnSeeds = 4, 12

// drawnRaceSeeds are those that it runs under the race detector, in which a seed takes many times longer: short ones,
// in which each kind happened when they were chosen.
var drawnRaceSeeds = []uint64{24_009, 24_022, 24_028, 24_030}

func TestSeeds(t *testing.T) {
	from, count := *fromSeed, *seedCount
	if count == 0 {
		count = defaultSeeds
		if raceEnabled {
			count = raceSeeds
		}
	}
	if *oneSeed != 0 {
		from, count = *oneSeed, 1
	}
	tally := runSeeds(t, from, count, *inject)
	if *tallyTo == "" {
		return
	}
	p, err := json.Marshal(tally)
	if err == nil {
		err = os.WriteFile(*tallyTo, p, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestInjected runs some seeds of each kind of injection, alone and together with others. More of them, and single
// ones, are run by TestSeeds with -sim.inject.
func TestInjected(t *testing.T) {
	if raceEnabled {
		for _, seed := range drawnRaceSeeds {
			runSeeds(t, seed, 1, "drawn")
		}
		return
	}
	for i, kind := range append(Injections(), "drawn") {
		count := kindSeeds
		if kind == "drawn" {
			count = drawnSeeds
		}
		t.Run(kind, func(t *testing.T) { runSeeds(t, uint64(1000*(i+1)), count, kind) })
	}
}

func runSeeds(t *testing.T, from uint64, count int, inject string) Tally {
	sum := Result{Injected: Tally{}}
	began := time.Now()
	for seed := from; seed < from+uint64(count); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := Run(t, Options{Seed: seed, Storage: *storageOf, Regions: *regionsOf, Inject: inject, Crash: *crashAt})
			sum.Acknowledged += r.Acknowledged
			sum.Unknown += r.Unknown
			sum.Reads += r.Reads
			sum.Tails += r.Tails
			sum.Epochs += r.Epochs
			sum.Starts += r.Starts
			sum.WentBack += r.WentBack
			sum.Copies += r.Copies
			sum.Virtual += r.Virtual
			sum.Injected.Add(r.Injected)
			if len(r.Failures) == 0 {
				if *tellAll {
					t.Log(r.Story(*traceLen))
				}
				return
			}
			for _, f := range r.Failures {
				t.Error(f)
			}
			t.Logf("plan: %s\n%s\nrun it again: go test ./sim -run TestSeeds -sim.seed=%d -sim.inject=%q", r.Plan,
				r.Story(*traceLen), seed, inject)
		})
	}
	t.Logf("%d seeds in %v: %v of virtual time, %d processes started, %d writes acknowledged, %d unknown, %d reads, "+
		"%d epochs, %d rescue files, %d times a node went back to a fork by itself, %d copies of states asked for",
		count, time.Since(began).Round(time.Millisecond), sum.Virtual.Round(time.Second), sum.Starts, sum.Acknowledged,
		sum.Unknown, sum.Reads, sum.Epochs, sum.Tails, sum.WentBack, sum.Copies)
	if len(sum.Injected) > 0 {
		t.Logf("kinds of faults:\n%v", sum.Injected)
	}
	return sum.Injected
}
