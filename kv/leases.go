package kv

import (
	"bytes"
	"cmp"
	"context"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Leases returns all leases, by ID.
func (s *Store) Leases() []lease.Lease { return s.leases.All() }

// LeaseCount returns how many leases s has.
func LeaseCount(s *Store) int { return s.leases.Len() }

// LeaseTTL returns the granted time to live of a lease in seconds, whatever is attached to it. ok is false if there is
// no such lease.
func LeaseTTL(s *Store, id int64) (ttl int64, ok bool) { return s.leases.TTL(id) }

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

// LeaseNotes say of leases that nobody takes their grant back, by the word of whoever knows. They are safe for
// concurrent use.
type LeaseNotes struct{ Store *Store }

// Of returns what is noted of a lease, nil if there is no such lease. It is forgotten with the lease, and when that is
// granted anew.
func (n LeaseNotes) Of(id int64) *atomic.Bool { return n.Store.leases.Note(id) }

// LeaseKeys tells what is attached to leases, of those that may have very much. It is safe for concurrent use.
type LeaseKeys struct{ Store *Store }

// Ending reports whether the end of a lease has begun, as the content says.
func (l LeaseKeys) Ending(id int64) bool { return l.Store.leases.Ending(id) }

// Some returns keys attached to a lease, in order: those behind after, if that is not nil, until all together cost
// as much as most, by what cost says of each, but for those of which one costs more than dearest. At least one is
// returned, if there is one; more tells that there are others.
func (l LeaseKeys) Some(
	id int64, after []byte, most, dearest int64, cost func(key []byte) int64,
) (keys [][]byte, more bool, err error) {
	g, err := l.Store.acquire()
	if err != nil {
		return nil, false, err
	}
	defer g.release()
	err = mvcc.EachAttached(g.db, id, after, func(key []byte) bool {
		price := cost(key)
		if price > dearest {
			return true
		}
		if most -= price; most < 0 && len(keys) > 0 {
			more = true
			return false
		}
		keys = append(keys, bytes.Clone(key))
		return true
	})
	return keys, more, asDamage(err)
}

// Each calls visit with each key attached to a lease, in order, and returns its error. It is an auth.Attached.
func (l LeaseKeys) Each(id int64, visit func(key []byte) error) (err error) {
	g, err := l.Store.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return eachAttached(g.db, id, visit)
}

// While is Each for as long as ctx is not over, with whose error it ends then.
func (l LeaseKeys) While(ctx context.Context) auth.Attached {
	return func(id int64, visit func(key []byte) error) error {
		return l.Each(id, func(key []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return visit(key)
		})
	}
}

// Cost returns about how many bytes each node needs to end a lease with its keys, at once. It counts no further
// than just over limit.
func (l LeaseKeys) Cost(id, limit int64) (bytes int64, err error) {
	g, err := l.Store.acquire()
	if err != nil {
		return 0, err
	}
	defer g.release()
	err = mvcc.EachAttached(g.db, id, nil, func(key []byte) bool {
		bytes += changeBytes + 2*int64(len(key))
		return bytes <= limit
	})
	return bytes, asDamage(err)
}

// ObserveLeases makes o, a lease.Lessor, the one that is told of leases; nil for none.
func (s *Store) ObserveLeases(o lease.Observer) { s.leases.ObserveLeases(o) }

func eachAttached(db pebble.Reader, id int64, visit func(key []byte) error) (err error) {
	read := mvcc.EachAttached(db, id, nil, func(key []byte) (more bool) {
		err = visit(key)
		return err == nil
	})
	return cmp.Or(asDamage(read), err)
}
