package keyset

import (
	"slices"
	"sort"
	"sync"
)

// Change is that of a key at a revision.
type Change struct {
	Key      string
	Revision int64
	Exists   bool // after it
	Flip     bool // it began or ceased to exist by it
}

// Index counts the keys of intervals at revisions (K1 to K5). Count and Apply are safe for concurrent use with
// everything; one goroutine keeps the index: it alone calls Begin, Finish, Abandon, Forget, Fit and Narrow.
type Index struct {
	budget int

	// turn is held while changes are added, and by the keeper while it begins to look at a block or ends it. So what
	// is looked at is the content at a revision that has all changes or none.
	turn sync.Mutex
	upTo int64 // the last revision added

	// mu is held for short, by whoever writes what follows.
	mu     sync.RWMutex
	groups []*group // in order; the first begins with the lowest key
	limits limits
	bytes  int
	wide   []*block // that have to be looked at

	unknown int   // blocks
	since   int64 // Fit's: what was before is not to be known any more
}

// group is blocks that lie together, with what they count together.
type group struct {
	series
	bound
	blocks []*block // at least one, in order
}

// bound is how young keys may be: none was changed after newest, and none began to exist after made, of those that
// can be read at or after valid.
type bound struct{ newest, made, valid int64 }

// unbound is where nothing is known.
var unbound = bound{newest: unknown, made: unknown}

// join makes b one of both.
func (b *bound) join(other bound) {
	b.newest, b.made = max(b.newest, other.newest), max(b.made, other.made)
	b.valid = max(b.valid, other.valid)
}

// block is an interval of keys, from from up to where the next block begins.
type block struct {
	series
	bound
	from   string
	keys   int      // different ones on disk when it was looked at
	young  int      // that began to exist since then
	queued bool     // it is in Index.wide
	looked bool     // it is being looked at
	missed []Change // meanwhile
}

// limits are how large things become, at most.
type limits struct {
	blockKeys   int // of a block that was just looked at
	groupBlocks int
	// What a survey takes, so that none holds up others for long, nor takes memory that is not there.
	surveyKeys, surveyFlips int
}

var defaultLimits = limits{blockKeys: 64, groupBlocks: 512, surveyKeys: 64 << 10, surveyFlips: 256 << 10}

const (
	// A survey takes no more flips than that part of the budget is for, and as many as make a step worth its while.
	flipBytes, surveyShare, leastFlips = 8, 8, 1 << 10

	maxBlockKeys = 1 << 20
	// wideFactor is how many times the keys of a fresh block a block may have before it is cut.
	wideFactor = 3

	// With its pointer, and what a string takes beside.
	blockOverhead = seriesOverhead + 24 + 16 + 8 + 8 + 8 + 24 + 8 + 16
)

// New returns the index of a content at revision upTo of which nothing is known yet. It tries to take no more than
// budget bytes.
func New(upTo int64, budget int) *Index {
	all := &block{series: series{since: unknown}, bound: unbound, queued: true}
	x := &Index{budget: budget, upTo: upTo, limits: defaultLimits, wide: []*block{all}, unknown: 1}
	x.limits.surveyFlips = min(x.limits.surveyFlips, max(budget/surveyShare/flipBytes, leastFlips))
	x.groups = []*group{{series: series{since: unknown}, bound: unbound, blocks: []*block{all}}}
	x.bytes = all.size()
	return x
}

func (b *block) size() int { return blockOverhead - seriesOverhead + len(b.from) + b.series.bytes() }

func (b *block) known() bool { return b.since != unknown }

// groupOf returns the place of the group in whose interval key is.
func (x *Index) groupOf(key string) int {
	return sort.Search(len(x.groups)-1, func(i int) bool { return x.groups[i+1].blocks[0].from > key })
}

// blockOf returns the place of the block in whose interval key is.
func (g *group) blockOf(key string) int {
	return sort.Search(len(g.blocks)-1, func(i int) bool { return g.blocks[i+1].from > key })
}

// applyTogether is how many changes are added before readers have their turn.
const applyTogether = 256

// Apply adds changes, all of which are after those of before and up to revision upTo; those that are flips are in one
// list, in order. It reports whether there is something to look at.
func (x *Index) Apply(upTo int64, lists ...[]Change) (wide bool) {
	x.turn.Lock()
	defer x.turn.Unlock()
	for _, changes := range lists {
		for some := range slices.Chunk(changes, applyTogether) {
			wide = x.applySome(some)
		}
	}
	x.upTo = upTo
	return wide
}

func (x *Index) applySome(changes []Change) (wide bool) {
	// Where they belong is found without keeping readers from theirs: blocks stay while turn is held.
	var groups [applyTogether]*group
	var blocks [applyTogether]*block
	for i := range changes {
		key := changes[i].Key
		groups[i] = x.groups[x.groupOf(key)]
		blocks[i] = groups[i].blocks[groups[i].blockOf(key)]
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range changes {
		g, b, rev := groups[i], blocks[i], changes[i].Revision
		g.newest, b.newest = max(g.newest, rev), max(b.newest, rev)
		if b.looked {
			b.missed = append(b.missed, changes[i])
		}
		if !changes[i].Flip {
			continue
		}
		if changes[i].Exists {
			g.made, b.made = max(g.made, rev), max(b.made, rev)
		}
		c := newChange(rev, changes[i].Exists)
		if g.since != unknown {
			x.bytes += g.add(c)
		}
		if b.known() {
			x.bytes += b.add(c)
			x.grown(b, c)
		}
	}
	return len(x.wide) > 0 || x.bytes > x.budget
}

// grown queues b if it became too wide by a change.
func (x *Index) grown(b *block, c change) {
	if c.sum() > 0 {
		b.young++
	}
	// What is looked at often is looked at more rarely: keys that begin and cease make a block no wider.
	if b.young > (wideFactor-1)*x.limits.blockKeys && b.young > len(b.chunks)*chunkBytes/8 {
		x.queue(b)
	}
}

// queue has b looked at if it is too wide.
func (x *Index) queue(b *block) {
	if b.keys+b.young > wideFactor*x.limits.blockKeys && !b.queued {
		b.queued = true
		x.wide = append(x.wide, b)
	}
}

// Whole reports whether all keys are counted, at the present.
func (x *Index) Whole() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.unknown == 0
}

// Bytes returns how much memory the index takes, about.
func (x *Index) Bytes() int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return int64(x.bytes)
}
