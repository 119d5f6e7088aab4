package recall

import (
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Entry is an entry of the region's log that a node said was agreed on. It is JSON in a file: never change a name.
type Entry struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	By    string `json:"by"` // who said it
}

// Agreed is how far the region is known to have agreed, by the word of its nodes when they answered a [Check], and who
// of them has answered. The zero Agreed is of nothing, and waits for nobody. It is safe for concurrent use.
type Agreed struct {
	mu     sync.Mutex
	said   map[string]Entry // by each of them, the last one of the latest term
	old    uint64           // the last one of which no term was said
	ends   Entry            // the furthest end of a log, which may be agreed on or not
	heard  map[uint64]bool
	parted map[uint64]bool

	self  uint64
	clock clock.Clock // nil: it waits for nobody
	until time.Time
}

// Wait has it wait for all voters but the node self, for so long from now on.
func (a *Agreed) Wait(c clock.Clock, self uint64, patience time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock, a.self, a.until = c, self, c.Now().Add(patience)
}

// UpTo returns the entry of the region's log up to which it did, and its term; 0 of what is not known. It never falls,
// but where nodes agreed in a later term on less: their region went on without what others had; and where who said it
// turned out to be of another history.
func (a *Agreed) UpTo() (index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var last Entry
	for _, e := range a.said {
		if e.after(last) {
			last = e
		}
	}
	if a.old > last.Index {
		return a.old, 0
	}
	return last.Index, last.Term
}

// Perhaps returns the furthest entry that is in the log of any of them, with its term, which may be agreed on though
// none of them knows it: what was agreed on just before the power went is known to be so by nobody. Zero once the wait
// is over.
func (a *Agreed) Perhaps() (index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.waiting() {
		return 0, 0
	}
	return a.ends.Index, a.ends.Term
}

// Awaits reports whether one of these voters was not heard, and the wait is not over yet, or is over.
func (a *Agreed) Awaits(voters []uint64) (awaits, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lacks, waiting := len(a.lacks(voters)) > 0, a.waiting()
	return lacks && waiting, lacks && !waiting && a.clock != nil
}

// Lacks returns which of these voters were not heard.
func (a *Agreed) Lacks(voters []uint64) []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lacks(voters)
}

// Parted reports whether a node is of another history of this region than this one.
func (a *Agreed) Parted(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.parted[id]
}

// Waiting reports whether the wait is not over.
func (a *Agreed) Waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting()
}

// waited reports whether there was a wait, which is over.
func (a *Agreed) waited() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clock != nil && !a.waiting()
}

func (a *Agreed) waiting() bool { return a.clock != nil && a.clock.Now().Before(a.until) }

func (a *Agreed) lacks(voters []uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(voters), func(id uint64) bool { return id == a.self || a.heard[id] })
}

func (a *Agreed) hear(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.heard == nil {
		a.heard = map[uint64]bool{}
	}
	a.heard[id] = true
}

// part notes that a node of this name is of another history; news if that was not known.
func (a *Agreed) part(id uint64, name string) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.parted == nil {
		a.parted = map[uint64]bool{}
	}
	news = !a.parted[id]
	a.parted[id] = true
	delete(a.said, name)
	return news
}

func (a *Agreed) note(e Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case e.Term == 0:
		a.old = max(a.old, e.Index)
	case e.after(a.said[e.By]):
		if a.said == nil {
			a.said = map[string]Entry{}
		}
		a.said[e.By] = e
	}
}

// reach notes where a log ends.
func (a *Agreed) reach(e Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.after(a.ends) {
		a.ends = e
	}
}

func (e Entry) after(o Entry) bool { return e.Term > o.Term || e.Term == o.Term && e.Index > o.Index }
