package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const module = "github.com/mimir-kv/mimir"

// testTimeout is how long one package may take, on a machine that is busy otherwise too: it only ends what hangs. A
// -timeout that is given overrides it.
const testTimeout = "60m"

const usage = `usage: go run ./check [-quick] [-require-race] [what go test takes]
  -quick         leave out the longest packages
  -require-race  fail where the race detector does not work, instead of running without it`

// errUsage marks a command line that makes no sense.
var errUsage = errors.New("usage")

// options are what a command line says.
type options struct {
	quick, requireRace, help bool
	packages                 []string // that are named, each with a leading dot
	link                     []string // how what has the race detector is linked
	rest                     []string // for go test, as it came
}

// parse takes what is meant for this command out of a command line. All that follows -args is for the tests.
func parse(arguments []string) (o options, err error) {
	for i, a := range arguments {
		switch strings.Replace(a, "--", "-", 1) {
		case "-quick":
			o.quick = true
		case "-require-race":
			o.requireRace = true
		case "-h", "-help":
			o.help = true
		case "-args":
			o.rest = append(o.rest, arguments[i:]...)
			return o, o.check()
		default:
			if a == "." || strings.HasPrefix(a, "./") {
				o.packages = append(o.packages, a)
			} else {
				o.rest = append(o.rest, a)
			}
		}
	}
	return o, o.check()
}

func (o *options) check() error {
	if o.quick && len(o.packages) > 0 {
		return fmt.Errorf("%w: -quick chooses the packages by itself, so none can be named", errUsage)
	}
	return nil
}

// choose returns the packages to test, out of all, in the order in which they begin.
func (o *options) choose(all func() ([]string, error)) ([]string, error) {
	if len(o.packages) > 0 {
		return o.packages, nil
	}
	rest, err := all()
	if err != nil {
		return nil, err
	}
	early := longest
	if o.quick {
		rest = slices.DeleteFunc(rest, func(p string) bool { return slices.Contains(longest, roomOf(p)) })
		early = nil
	}
	var first []string
	for _, room := range slices.Concat(early, long) {
		if p := module + "/" + room; slices.Contains(rest, p) {
			first = append(first, p)
		}
	}
	rest = slices.DeleteFunc(rest, func(p string) bool { return slices.Contains(first, p) })
	return append(first, rest...), nil
}

// roomOf returns where a package of this module is.
func roomOf(path string) string { return strings.TrimPrefix(path, module+"/") }

// testRun is one run of go test.
type testRun struct {
	packages []string
	race     bool
}

// runs returns how packages, which were chosen, are tested: those that are named on the command line with the race
// detector, if it works here; of all packages those without it that need no more.
func (o *options) runs(packages []string, race bool) []testRun {
	if !race || len(o.packages) > 0 {
		return []testRun{{packages, race}}
	}
	var with, without []string
	for _, p := range packages {
		if !slices.Contains(single, roomOf(p)) {
			with = append(with, p)
		}
	}
	for _, room := range slices.Concat(seeded, single) { // the longest begins
		if p := module + "/" + room; slices.Contains(packages, p) {
			without = append(without, p)
		}
	}
	return slices.DeleteFunc([]testRun{{with, true}, {without, false}}, func(r testRun) bool {
		return len(r.packages) == 0
	})
}

// vet returns the arguments of go that check the sources; nil for a run of everything, which takes long enough:
// .ci/run does it there.
func (o *options) vet() []string {
	switch {
	case len(o.packages) > 0:
		return append([]string{"vet"}, o.packages...)
	case o.quick:
		return []string{"vet", "./..."}
	default:
		return nil
	}
}

// campaignSeeds is how many seeds of sim a run of everything adds, each with about half of the kinds of faults, and
// moreSeeds how many more as long as the run has not taken campaignWithin: where processors are slow, it ends without.
// A kind happens in 50 to 100 of 150 seeds; the run prints how many there were, and in how many of them.
const (
	campaignSeeds, moreSeeds = "150", "450"
	campaignWithin           = 13 * time.Minute
)

// campaign returns the arguments of go that run them, behind tests that took this long, and the table of failures,
// without the race detector, which makes them many times slower; nil if not everything is to be tested, or the command
// line chooses tests itself.
func (o *options) campaign(took time.Duration) []string {
	chosen := slices.ContainsFunc(o.rest, func(a string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		return slices.Contains([]string{"run", "skip", "short", "list", "bench", "fuzz", "args"}, name)
	})
	if o.quick || chosen || len(o.packages) > 0 {
		return nil
	}
	return []string{"test", "-vet=off", "-timeout", testTimeout, "./sim", "-v", "-run",
		"^(TestCampaign|TestFailureTable)$", "-sim.campaign", campaignSeeds, "-sim.more", moreSeeds,
		"-sim.within", max(0, campaignWithin-took).String()}
}

// atOnce is how many packages are tested at a time: two more than there are processors, because several of them wait
// for elections, processes and timers longer than they work. A -p that is given overrides it.
func atOnce() int { return runtime.NumCPU() + 2 }

// test returns the arguments of go for a run of packages. Vet, of which go test does a part, runs before or in .ci/run.
func (o *options) test(r testRun) []string {
	arguments := []string{"test", "-vet=off", "-p", strconv.Itoa(atOnce())}
	if r.race {
		arguments = append(append(arguments, "-race"), o.link...)
	}
	arguments = append(arguments, "-timeout", testTimeout)
	if len(o.packages) == 0 { // a -skip that is given overrides it
		skip := []string{planting, written, fleets}
		if o.campaign(0) != nil {
			skip = append(skip, counted)
		}
		arguments = append(arguments, "-skip", strings.Join(skip, "|"))
	}
	return slices.Concat(arguments, r.packages, o.rest)
}
