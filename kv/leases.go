package kv

import (
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Leases returns all leases, by ID.
func (s *Store) Leases() []lease.Lease { return s.leases.All() }

// Lease returns the granted time to live of a lease in seconds and the keys attached to it, in order. ok is false if
// there is no such lease.
func (s *Store) Lease(id int64) (ttl int64, keys [][]byte, ok bool) {
	if ttl, ok = s.leases.TTL(id); !ok {
		return 0, nil, false
	}
	g, err := s.acquire()
	if err != nil {
		return 0, nil, false
	}
	defer g.release()
	if keys, err = mvcc.AttachedKeys(g.db, id); err != nil {
		s.options.Logger.Error("keys of a lease cannot be read", "lease", id, "err", err)
		return 0, nil, false
	}
	return ttl, keys, true
}

// ObserveLeases makes o, a lease.Lessor, the one that is told of leases; nil for none.
func (s *Store) ObserveLeases(o lease.Observer) { s.leases.ObserveLeases(o) }
