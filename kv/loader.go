package kv

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// loadBytes is how much a Loader writes at a time.
const loadBytes = 4 << 20

// ErrForeign says that a content that was kept elsewhere contradicts itself.
var ErrForeign = errors.New("kv: content that cannot be taken")

// Loader fills an empty store, which nobody else uses, with a content that was kept elsewhere, from its oldest change
// to its newest. It is used by one goroutine; the store is closed afterwards. What was loaded counts once Finish has
// returned.
type Loader struct {
	g        *generation
	batch    *pebble.Batch
	write    *mvcc.Writer
	at       mvcc.Stamp
	leases   map[int64]bool
	attached map[string]int64
	used     bool // users and roles
}

// NewLoader returns a loader of s. The caller calls Close.
func NewLoader(s *Store) (*Loader, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	l := &Loader{g: g, leases: map[int64]bool{}, attached: map[string]int64{}}
	l.begin()
	if meta, err := g.metadata(); err != nil || meta != nil {
		return nil, errors.Join(err, errors.New("kv: the store is not empty"), l.Close())
	}
	// No node takes a store with such metadata for a whole one, or an empty one.
	if err := errors.Join(l.write.Metadata(&replication.Metadata{}), l.flush(0), g.flush()); err != nil {
		return nil, errors.Join(fmt.Errorf("kv: begin to load: %w", err), l.Close())
	}
	return l, nil
}

func (l *Loader) begin() {
	l.batch = l.g.db.NewBatch()
	l.write = mvcc.NewWriter(l.batch)
}

// Close lets go of the store.
func (l *Loader) Close() error {
	defer l.g.release()
	return l.batch.Close()
}

func (l *Loader) flush(least int) error {
	if l.batch.Len() < least {
		return nil
	}
	if err := errors.Join(l.batch.Commit(pebble.NoSync), l.batch.Close()); err != nil {
		return err
	}
	l.begin()
	return nil
}

// Lease adds a lease. All come before the versions.
func (l *Loader) Lease(id, ttl int64) error {
	if id == 0 || l.leases[id] || ttl < 1 || ttl > lease.MaxTTL {
		return fmt.Errorf("%w: lease %x with a time to live of %d seconds", ErrForeign, id, ttl)
	}
	l.leases[id] = true
	return l.write.Grant(id, ttl)
}

// Version adds the next change, of key. A lease that does not exist, as one that ended in the meantime, has no key.
func (l *Loader) Version(key []byte, v *mvcc.Version) error {
	behind := v.Main > l.at.Main || v.Main == l.at.Main && v.Sub > l.at.Sub
	sound := v.Kind == mvcc.KindDelete || v.Create > 0 && v.Create <= v.Main && v.Number > 0
	if !behind || !sound || v.Main < mvcc.FirstRevision {
		return fmt.Errorf("%w: revision %d.%d of key %q, behind %d.%d, created at %d, version %d", ErrForeign, v.Main,
			v.Sub, key, l.at.Main, l.at.Sub, v.Create, v.Number)
	}
	l.at = v.Stamp
	to := v.Lease
	if v.Kind == mvcc.KindDelete || !l.leases[to] {
		to = 0
	}
	from := l.attached[string(key)]
	if to == 0 {
		delete(l.attached, string(key))
	} else {
		l.attached[string(key)] = to
	}
	if err := l.write.Attach(key, from, to); err != nil {
		return err
	}
	if err := l.write.Version(key, v); err != nil {
		return err
	}
	return l.flush(loadBytes)
}

// Held adds what a key holds, or that it was deleted, of a content of which nothing before its newest revision can be
// read: one version of each key, in any order. Leases are no part of it.
func (l *Loader) Held(key []byte, v *mvcc.Version) error {
	sound := v.Kind == mvcc.KindDelete || v.Create > 0 && v.Create <= v.Main && v.Number > 0
	if !sound || v.Main < mvcc.FirstRevision {
		return fmt.Errorf("%w: a key of revision %d.%d, created at %d, version %d", ErrForeign, v.Main, v.Sub, v.Create,
			v.Number)
	}
	l.at.Main = max(l.at.Main, v.Main)
	if err := l.write.Version(key, v); err != nil {
		return err
	}
	return l.flush(loadBytes)
}

// Users adds users and roles; see auth.Edit.
func (l *Loader) Users(f *auth.Foreign, salt []byte) error {
	e := l.g.now.Load().auth.Edit()
	if err := e.Adopt(f, salt, l.write); err != nil {
		return err
	}
	l.used = e.Used()
	return nil
}

// Follow has the content follow an etcd from here on: see command.EncodeFollowed.
func (l *Loader) Follow() error {
	return l.write.Alarms(mvcc.Alarms{{Kind: int32(command.AlarmFollows)}})
}

// HasUsers reports whether there are users or roles, or ever were.
func (l *Loader) HasUsers() bool { return l.used }

// Finish makes durable what was loaded, as what there is at a revision, of which nothing before compact can be read; -1
// if it was never compacted.
func (l *Loader) Finish(revision, compact int64, meta *replication.Metadata) error {
	state := &mvcc.State{Revision: revision, Compact: compact}
	if _, err := state.Moved(0, false); err != nil || l.at.Main > revision {
		return errors.Join(fmt.Errorf("%w: revision %d, compacted at %d, the last change is of %d", ErrForeign,
			revision, compact, l.at.Main), err)
	}
	if err := errors.Join(l.write.State(state), l.write.Metadata(meta), l.flush(0)); err != nil {
		return err
	}
	return l.g.flush()
}
