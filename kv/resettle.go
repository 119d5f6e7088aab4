package kv

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Move is how the revision of a content changes that begins another life: so that nobody who saw a later one takes what
// comes for what he saw.
type Move struct {
	// Bump is how far the revision moves; what lies between can be neither read nor watched. At least 0.
	Bump int64
	// Compact makes everything before the new revision unreadable.
	Compact bool
}

// Resettle makes the content of s, which nobody uses, that of another fleet, durably: meta takes the place of what it
// knew of its history, the revision moves, alarms of members that are not there are gone, and no token of before counts
// any more. What followed an etcd follows it no more, and takes everybody's writes. s is closed afterwards.
func Resettle(s *Store, meta *replication.Metadata, m Move) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	now := g.now.Load()
	state, err := now.Moved(m.Bump, m.Compact)
	if err != nil {
		return fmt.Errorf("kv: resettle: %w", err)
	}
	batch := g.db.NewBatch()
	w := mvcc.NewWriter(batch)
	users := now.auth.Edit()
	err = cmp.Or(w.State(state), w.Alarms(nil), w.Metadata(meta), users.Resettle(meta.Chain[:], w))
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err = cmp.Or(err, batch.Close()); err == nil {
		err = g.flush()
	}
	if err != nil {
		return fmt.Errorf("kv: resettle: %w", err)
	}
	return nil
}

// Summary is what a store holds.
type Summary struct {
	Revision, Compact int64
	Keys              int64 // that exist at Revision
	Hash              uint32
	Leases            int
	Users             bool // or roles: there ever were some
	// Of the leases with their times to live, and of users and roles: those of DigestBeside.
	LeaseSum, UserSum [mvcc.SumBytes]byte
	Follows           bool // an etcd: see the function of that name
	Metadata          *replication.Metadata
}

// Summarize reads all of a store, and tells what it holds. What cannot be read is mvcc.ErrCorrupt.
func Summarize(ctx context.Context, s *Store) (Summary, error) {
	meta, err := s.Load()
	if err != nil {
		return Summary{}, err
	}
	hash, compact, revision, err := s.Hash(ctx, 0) // visits every version
	if err == nil {
		hash, _, _, err = s.HashContent(ctx, revision)
	}
	if err != nil {
		return Summary{}, err
	}
	beside, err := DigestBeside(ctx, s)
	if err != nil {
		return Summary{}, err
	}
	sum := Summary{
		Revision: revision, Compact: compact, Hash: hash, Metadata: meta, Leases: s.leases.Len(),
		Users: s.now().auth.Used(), Follows: Follows(s), LeaseSum: beside.LeaseSum, UserSum: beside.UserSum,
	}
	g, err := s.acquire()
	if err != nil {
		return Summary{}, err
	}
	defer g.release()
	r, err := mvcc.NewReader(g.db)
	if err != nil {
		return Summary{}, err
	}
	everything := command.Span{End: []byte{}}
	sum.Keys, err = r.Scan(ctx, everything, math.MaxInt64, 0, func([]byte, *mvcc.Version) error { return nil })
	return sum, cmp.Or(err, r.Close())
}

var _ auth.Writer = (*mvcc.Writer)(nil)
