package kv

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Change is a change of a part of another store's history: a key, and the version that it got.
type Change struct {
	Key []byte
	mvcc.Version
}

// partialEpoch is the epoch of what a store notes that follows a part of another one's history: its positions are
// revisions, and no cursor of a fleet.
const partialEpoch = 1

// NoteOfPart is what such a store keeps as its metadata.
func NoteOfPart(revision int64) *replication.Metadata {
	return &replication.Metadata{Epoch: partialEpoch, Position: replication.Position(revision)}
}

// Accept brings a store that follows a part of another one's history to the state to: by these changes, which are all
// of that part behind the revision that s has. Nothing else changes such a store, and no lease is in it: that a key
// hangs on one is part of its version. What does not fit what it has is command.ErrParted, and changes nothing. Key and
// value belong to the store afterwards. It is called by one goroutine at a time.
func Accept(s *Store, to mvcc.State, changes []Change) (err error) {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	before := g.now.Load()
	next, err := before.followed(to)
	if err != nil {
		return err
	}
	if len(changes) == 0 && next.Revision == before.Revision && next.Compact == before.Compact &&
		slices.Equal(next.Gaps, before.Gaps) {
		return nil
	}
	r, err := newRun(g, s.leases.Edit(), false, s.watchers.Wanted(), s.bounds)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, r.Close()) }()
	for i := range changes {
		if err := r.take(&changes[i], next.Revision); err != nil {
			return fmt.Errorf("kv: accept revision %d: %w", changes[i].Main, err)
		}
	}
	r.state = next
	if err := s.commit(g, r, NoteOfPart(next.Revision)); err != nil {
		return fmt.Errorf("kv: accept revision %d: %w", next.Revision, asDamage(err))
	}
	return nil
}

// followed is the state that comes behind m where another store came to the state to. What was compacted here stays so.
func (m *moment) followed(to mvcc.State) (*mvcc.State, error) {
	next := &mvcc.State{Revision: to.Revision, Compact: max(m.Compact, to.Compact)}
	for _, g := range to.Gaps {
		if g.Base > next.Compact {
			next.Gaps = append(next.Gaps, g)
		}
	}
	if next.Revision < m.Revision {
		return nil, fmt.Errorf("%w: revision %d comes behind %d", command.ErrParted, to.Revision, m.Revision)
	}
	if _, err := next.Moved(0, false); err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrParted, err)
	}
	return next, nil
}

// take adds a change that was made elsewhere, if it is what comes next here.
func (r *run) take(c *Change, upTo int64) error {
	prev, err := r.replaced(c.Key, false)
	if err != nil {
		return err
	}
	create, number := c.Main, int64(1)
	if prev.Exists() {
		create, number = prev.Create, prev.Number+1
	}
	deletes := c.Kind == mvcc.KindDelete
	switch {
	case c.Main <= r.state.Revision || c.Main > upTo:
		return fmt.Errorf("%w: it is not behind %d and up to %d", command.ErrParted, r.state.Revision, upTo)
	case deletes && !prev.Exists():
		return fmt.Errorf("%w: a key that is not here is deleted", command.ErrParted)
	case !deletes && (c.Create != create || c.Number != number):
		return fmt.Errorf("%w: a key has version %d since %d, and here %d since %d would come", command.ErrParted,
			c.Number, c.Create, number, create)
	}
	return r.record(c.Key, &prev, c.Version)
}
