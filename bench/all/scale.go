package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scale is which goals are measured, and how large everything is for them.
type scale struct {
	which    string
	limit    time.Duration
	lasts    time.Duration // of one measurement
	profiled time.Duration
	said     string // flags of these that were given, as a command line has them

	pageKeys     string
	backlog      int // megabytes
	secondRate   int // puts a second
	watchers     int
	watchRate    int
	leaseRate    int // updates a second
	leaseObjects int
	leaseLasts   time.Duration
	budget       int // megabytes
	state        int // times the budget
}

// scaleFlags are the names of the flags, by which a command says how to make the same again.
const scaleFlags = "goals"

func (s *scale) flags(f *flag.FlagSet) {
	name := func(of string) string { return scaleFlags + "-" + of }
	f.StringVar(&s.which, scaleFlags, "all", "numbers of `goals` to measure, as 1,3; all, or none")
	f.DurationVar(&s.limit, name("limit"), 14*time.Minute, "within which they end, behind the operations")
	f.DurationVar(&s.lasts, name("lasts"), 400*time.Millisecond,
		"how long a list is measured at a time, other loads ten times")
	f.DurationVar(&s.profiled, name("profiled"), 3*time.Second, "how long the load of a missed goal is profiled")
	f.StringVar(&s.pageKeys, name("keys"), "100000,1000000",
		"sizes of 1, of which 9 takes the last: `keys`; 10000000 too takes minutes more")
	f.IntVar(&s.backlog, name("backlog"), 64,
		"`megabytes` that the second region of 8 catches up on; 1000 is what is wanted")
	f.IntVar(&s.secondRate, name("second-rate"), 1000, "`puts` a second of 8")
	f.IntVar(&s.watchers, name("watchers"), 10_000,
		"`watchers` of 6, on a tenth as many ranges; 100000 is what is wanted")
	f.IntVar(&s.watchRate, name("watch-rate"), 1000, "`puts` a second of 6")
	f.IntVar(&s.leaseRate, name("lease-rate"), 650,
		"lease `updates` a second of 7, with a thirteenth of creates; 13000 is what is wanted")
	f.IntVar(&s.leaseObjects, name("lease-objects"), 50_000, "`objects` of 7; 1000000 is what is wanted")
	f.DurationVar(&s.leaseLasts, name("lease-lasts"), 40*time.Second,
		"how long 7 takes on each side; 10m is what is wanted")
	f.IntVar(&s.budget, name("budget"), 256, "`megabytes` of memory of a node of 2; 1500 is what is wanted")
	f.IntVar(&s.state, name("state"), 3, "how many times that its state is; 13 is what is wanted")
}

// said are the flags of goals that were given.
func said(f *flag.FlagSet) (text string) {
	f.Visit(func(g *flag.Flag) {
		if strings.HasPrefix(g.Name, scaleFlags) {
			text += fmt.Sprintf(" -%s %s", g.Name, g.Value)
		}
	})
	return text
}

// sizes are those of pageKeys, the smallest first.
func (s *scale) sizes() (all []int, err error) {
	for text := range strings.SplitSeq(s.pageKeys, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < leastKeys {
			return nil, fmt.Errorf("-%s-keys %s: want numbers of at least %d", scaleFlags, s.pageKeys, leastKeys)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}

// leastKeys is so many that each prefix has a page of them.
const leastKeys = 10 * pageOf

// chooseGoals returns the numbers that are wanted.
func chooseGoals(which string) (map[int]bool, error) {
	chosen := map[int]bool{}
	switch which {
	case "none":
		return chosen, nil
	case "all":
		for _, g := range goalsOfTheirOwn {
			chosen[g.number] = true
		}
		for _, n := range goalsOfOperations {
			chosen[n] = true
		}
		return chosen, nil
	}
	all, err := chooseGoals("all")
	if err != nil {
		return nil, err
	}
	for text := range strings.SplitSeq(which, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || !all[n] {
			return nil, fmt.Errorf("-%s %s: no goal %q; want all, none, or numbers of 1 to 9 but 5", scaleFlags, which,
				text)
		}
		chosen[n] = true
	}
	return chosen, nil
}
