package lease

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Bounds of a lease's time to live, in seconds. A shorter one is granted as MinTTL, a longer one is refused.
const (
	MinTTL = 2
	MaxTTL = 9_000_000_000
)

// Lease is a lease that was granted and not yet revoked.
type Lease struct {
	ID  int64
	TTL int64 // granted time to live in seconds
}

// Terms are those of a lease.
type Terms struct {
	TTL    int64 // granted time to live in seconds
	Ending bool  // some of its keys are gone, since it has expired, and the rest goes with it
}

// Set is leases by ID.
type Set map[int64]Terms

// Load reads the leases in a database.
func Load(db pebble.Reader) (Set, error) {
	leases := Set{}
	err := mvcc.EachLease(db, func(id int64, ttl uint64, ending bool) error {
		if ttl == 0 || ttl > MaxTTL {
			return fmt.Errorf("%w: lease %d has a time to live of %d seconds", mvcc.ErrCorrupt, id, ttl)
		}
		leases[id] = Terms{TTL: int64(ttl), Ending: ending}
		return nil
	})
	return leases, err
}

// Observer is told of leases, in order and with the table locked: it does not block or call back. A [Lessor] is one.
type Observer interface {
	granted(id, ttl int64)
	ending(id int64)
	revoked(id int64)
	replaced(all Set) // valid during the call
	held(on bool)
}

// Table is the leases that are published. It is safe for concurrent use, but only one goroutine at a time changes it.
type Table struct {
	mu       sync.Mutex
	leases   Set
	held     bool
	observer Observer
	notes    map[int64]*atomic.Bool // that were asked for, of leases as they were granted
}

// NewTable returns a table that begins with leases, which become its own.
func NewTable(leases Set) *Table { return &Table{leases: leases} }

// TTL returns the granted time to live of a lease in seconds; ok is false if there is no such lease.
func (t *Table) TTL(id int64) (ttl int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	terms, ok := t.leases[id]
	return terms.TTL, ok
}

// Ending reports whether the end of a lease has begun.
func (t *Table) Ending(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leases[id].Ending
}

// Note returns what is noted of a lease as it was granted: false at first, and again when it is granted anew. nil if
// there is no such lease.
func (t *Table) Note(id int64) *atomic.Bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.leases[id]; !ok {
		return nil
	}
	note := t.notes[id]
	if note == nil {
		if note = new(atomic.Bool); t.notes == nil {
			t.notes = map[int64]*atomic.Bool{}
		}
		t.notes[id] = note
	}
	return note
}

// Len returns how many leases there are.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.leases)
}

// All returns all leases, by ID.
func (t *Table) All() []Lease {
	all := t.list()
	slices.SortFunc(all, func(a, b Lease) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// list returns all leases, in no order: who applies waits for no more than that.
func (t *Table) list() []Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Lease, 0, len(t.leases))
	for id, terms := range t.leases {
		all = append(all, Lease{ID: id, TTL: terms.TTL})
	}
	return all
}

// ObserveLeases makes o the one observer, nil for none, and tells it of all leases.
func (t *Table) ObserveLeases(o Observer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.observer = o; o != nil {
		o.held(t.held)
		o.replaced(t.leases)
	}
}

// Hold has no lease come to its end while held: another who keeps them says when. Afterwards each has its full time to
// live.
func (t *Table) Hold(held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held = held; t.observer != nil {
		t.observer.held(held)
	}
}

// Replace makes leases, which become the table's own, take the place of all there are, as one step with show, for
// whoever reads the table.
func (t *Table) Replace(leases Set, show func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	show()
	t.leases, t.notes = leases, nil
	if t.observer != nil {
		t.observer.replaced(leases)
	}
}

// Edit is the leases as a batch changes them. It is used by the goroutine that changes the table, and no longer once
// the table changes otherwise.
type Edit struct {
	base    Set
	changed Set // without a time to live: one that is revoked
}

// Edit begins to change the table.
func (t *Table) Edit() Edit { return Edit{base: t.leases} }

// Has reports whether a lease exists, with the changes of the edit.
func (e *Edit) Has(id int64) bool {
	return e.terms(id) != Terms{}
}

// terms returns those of a lease, with the changes of the edit; none if there is no such lease.
func (e *Edit) terms(id int64) Terms {
	if terms, ok := e.changed[id]; ok {
		return terms
	}
	return e.base[id]
}

// Ending reports whether the end of a lease has begun, with the changes of the edit.
func (e *Edit) Ending(id int64) bool { return e.terms(id).Ending }

// Changed reports whether the edit adds a lease, takes one away, or notes that the end of one has begun.
func (e *Edit) Changed() bool { return len(e.changed) > 0 }

// Grant adds a lease.
func (e *Edit) Grant(id, ttl int64) { e.set(id, Terms{TTL: ttl}) }

// Revoke takes a lease away.
func (e *Edit) Revoke(id int64) { e.set(id, Terms{}) }

// End notes that the end of a lease has begun, and returns its time to live; news is false if that is known, or there
// is no such lease.
func (e *Edit) End(id int64) (ttl int64, news bool) {
	terms := e.terms(id)
	if terms == (Terms{}) || terms.Ending {
		return terms.TTL, false
	}
	e.set(id, Terms{TTL: terms.TTL, Ending: true})
	return terms.TTL, true
}

func (e *Edit) set(id int64, terms Terms) {
	if e.changed == nil {
		e.changed = Set{}
	}
	e.changed[id] = terms
}

// Publish makes the changes of an edit visible, as one step with show, for whoever reads the table.
func (t *Table) Publish(e *Edit, show func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	show()
	for id, terms := range e.changed {
		delete(t.notes, id)
		before := t.leases[id]
		if t.leases[id] = terms; terms == (Terms{}) {
			delete(t.leases, id)
		}
		if t.observer != nil {
			tell(t.observer, id, before, terms)
		}
	}
}

// tell tells of one lease what it was and is.
func tell(o Observer, id int64, before, now Terms) {
	if now == (Terms{}) {
		o.revoked(id)
		return
	}
	if !now.Ending || before.TTL != now.TTL {
		o.granted(id, now.TTL)
	}
	if now.Ending {
		o.ending(id)
	}
}
