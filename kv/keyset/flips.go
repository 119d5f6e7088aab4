package keyset

import (
	"cmp"
	"slices"
	"sort"
)

// Flips are changes that no index has yet, each of which is a flip, in order of revision. They are counted in
// about as many steps as their number has digits, however many counts and flips come in turn; nothing is done for that
// before somebody counts. The zero value has none. They are used by one goroutine.
type Flips struct {
	all    []Change
	levels []flipLevel
}

const (
	// flipRun is how many flips a run of the lowest level has, and flipRuns how many runs one of the next level is
	// made of.
	flipRun  = 64
	flipRuns = 8
)

// flipLevel has the flips in runs of one length, which follow each other in order of revision. What is left behind the
// last whole run is in no run of the level.
type flipLevel struct {
	order []int32 // which flips, in order of key within each run
	sums  []int32 // by how many keys there are more with the flips of the run up to here
}

// Add adds a flip, which is of no revision before the last.
func (f *Flips) Add(c Change) { f.all = append(f.all, c) }

// All returns all of them. They must not be changed.
func (f *Flips) All() []Change { return f.all }

// Count returns by how many keys of an interval there are more at revision rev than without them.
func (f *Flips) Count(in Interval, rev int64) (more int64) {
	end := sort.Search(len(f.all), func(i int) bool { return f.all[i].Revision > rev })
	f.raise()
	at := 0
	for l := len(f.levels) - 1; l >= 0; l-- {
		n := lengthOfRun(l)
		for ; at+n <= min(end, len(f.levels[l].order)); at += n {
			more += f.run(&f.levels[l], at, at+n, in)
		}
	}
	for i := range f.all[at:end] {
		if c := &f.all[at+i]; c.Key >= in.From && (!in.Bounded || c.Key < in.To) {
			more += int64(c.step())
		}
	}
	return more
}

// Next returns the first key that any of them is of, from from on; ok is false if there is none.
func (f *Flips) Next(from string) (key string, ok bool) {
	note := func(found string) {
		if found >= from && (!ok || found < key) {
			key, ok = found, true
		}
	}
	f.raise()
	at := 0
	for l := len(f.levels) - 1; l >= 0; l-- {
		n := lengthOfRun(l)
		for ; at+n <= len(f.levels[l].order); at += n {
			order := f.levels[l].order[at : at+n]
			i := sort.Search(n, func(i int) bool { return f.all[order[i]].Key >= from })
			if i < n {
				note(f.all[order[i]].Key)
			}
		}
	}
	for i := range f.all[at:] {
		note(f.all[at+i].Key)
	}
	return key, ok
}

func (c *Change) step() int32 {
	if c.Exists {
		return 1
	}
	return -1
}

func lengthOfRun(level int) int {
	n := flipRun
	for range level {
		n *= flipRuns
	}
	return n
}

// run counts the flips of a run.
func (f *Flips) run(l *flipLevel, from, to int, in Interval) int64 {
	order, sums := l.order[from:to], l.sums[from:to]
	before := func(key string) int64 {
		i := sort.Search(len(order), func(i int) bool { return f.all[order[i]].Key >= key })
		if i == 0 {
			return 0
		}
		return int64(sums[i-1])
	}
	if !in.Bounded {
		return int64(sums[len(sums)-1]) - before(in.From)
	}
	return before(max(in.From, in.To)) - before(in.From)
}

// raise makes the runs that are whole by now.
func (f *Flips) raise() {
	for l, whole := 0, len(f.all); whole >= lengthOfRun(l); l++ {
		if l == len(f.levels) {
			f.levels = append(f.levels, flipLevel{})
		}
		level, n := &f.levels[l], lengthOfRun(l)
		for at := len(level.order); at+n <= whole; at += n {
			if l > 0 {
				level.order = append(level.order, f.levels[l-1].order[at:at+n]...)
			} else {
				for i := range n {
					level.order = append(level.order, int32(at+i))
				}
			}
			f.sort(level, at)
		}
		whole = len(level.order)
	}
}

// sort makes a run of what a level has from at on.
func (f *Flips) sort(level *flipLevel, at int) {
	run := level.order[at:]
	slices.SortFunc(run, func(a, b int32) int { return cmp.Compare(f.all[a].Key, f.all[b].Key) })
	sum := int32(0)
	for _, i := range run {
		sum += f.all[i].step()
		level.sums = append(level.sums, sum)
	}
}
