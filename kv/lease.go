package kv

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Bounds of a lease's time to live, in seconds. A shorter one is granted as MinLeaseTTL, a longer one is refused.
const (
	MinLeaseTTL = 2
	MaxLeaseTTL = 9_000_000_000
)

// Lease is a lease that was granted and not yet revoked.
type Lease struct {
	ID  int64
	TTL int64 // granted time to live in seconds
}

// Lease returns the granted time to live of a lease in seconds and the keys attached to it, in order. ok is false if
// there is no such lease.
func (s *Store) Lease(id int64) (ttl int64, keys [][]byte, ok bool) {
	if ttl, ok = s.leaseTTL(id); !ok {
		return 0, nil, false
	}
	g, err := s.acquire()
	if err != nil {
		return 0, nil, false
	}
	defer g.release()
	lower, upper := attachedBounds(id)
	it, err := g.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err == nil {
		keys, err = attachedKeys(it)
		err = closeAfter(it, err)
	}
	if err != nil {
		s.options.Logger.Error("keys of a lease cannot be read", "lease", id, "error", err)
		return 0, nil, false
	}
	return ttl, keys, true
}

func (s *Store) leaseTTL(id int64) (ttl int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ttl, ok = s.leases[id]
	return ttl, ok
}

// Leases returns all leases, by ID.
func (s *Store) Leases() []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Lease, 0, len(s.leases))
	for id, ttl := range s.leases {
		all = append(all, Lease{ID: id, TTL: ttl})
	}
	slices.SortFunc(all, func(a, b Lease) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// leaseObserver is told of leases, in order and under Store.mu: it must not block or call back.
type leaseObserver interface {
	granted(id, ttl int64)
	revoked(id int64)
	replaced(all map[int64]int64)
}

// leaseOverlay is the leases as a run changes them: a time to live, or 0 for one that is revoked.
type leaseOverlay struct {
	base    map[int64]int64
	changed map[int64]int64
}

func (o *leaseOverlay) has(id int64) bool {
	if ttl, ok := o.changed[id]; ok {
		return ttl != 0
	}
	_, ok := o.base[id]
	return ok
}

func (o *leaseOverlay) set(id, ttl int64) {
	if o.changed == nil {
		o.changed = map[int64]int64{}
	}
	o.changed[id] = ttl
}

// publishLeases makes the changes of a run visible. s.mu is held.
func (s *Store) publishLeases(o *leaseOverlay) {
	for id, ttl := range o.changed {
		if ttl == 0 {
			delete(s.leases, id)
			if s.observer != nil {
				s.observer.revoked(id)
			}
			continue
		}
		s.leases[id] = ttl
		if s.observer != nil {
			s.observer.granted(id, ttl)
		}
	}
}

// observeLeases makes o the one observer, nil for none, and tells it of all leases.
func (s *Store) observeLeases(o leaseObserver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.observer = o; o != nil {
		o.replaced(maps.Clone(s.leases))
	}
}

func loadLeases(r pebble.Reader) (map[int64]int64, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tableLeases}, UpperBound: []byte{tableLeases + 1}})
	if err != nil {
		return nil, err
	}
	leases := map[int64]int64{}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var id int64
		if id, err = decodeLease(it.Key()); err == nil {
			ttl, n := binary.Uvarint(it.Value())
			if n <= 0 || ttl == 0 || ttl > MaxLeaseTTL {
				err = fmt.Errorf("%w: lease %d with value %x", ErrCorrupt, id, it.Value())
			}
			leases[id] = int64(ttl)
		}
	}
	if err == nil {
		err = it.Error()
	}
	return leases, closeAfter(it, err)
}
