package kv

import (
	"cmp"
	"context"
	"errors"
	"hash/crc32"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Hash returns a CRC-32C over all versions up to rev (the current revision if rev is not positive) that compaction
// lets be read or watched, in order of keys and then from new to old, with the compaction and the current revision at
// that moment. It is equal on all nodes of equal history, whatever compaction has physically removed. If rev is not
// positive it covers users and roles too, if there ever were any. Errors: command.ErrCompacted,
// command.ErrFutureRevision, the context's.
func (s *Store) Hash(ctx context.Context, rev int64) (hash uint32, compactRev, currentRev int64, err error) {
	return s.hash(rev, func(r *mvcc.Reader, at int64, now *moment) (uint32, error) {
		hash, err := r.HashHistory(ctx, at, now.Compact)
		if rev <= 0 {
			hash = crc32.Update(hash, castagnoli, now.auth.Append(nil))
		}
		return hash, err
	})
}

// HashContent is Hash over what can be read at rev alone: it is equal on all nodes of equal history, and stays what it
// is when the store is compacted, as long as rev can be read.
func (s *Store) HashContent(ctx context.Context, rev int64) (hash uint32, compactRev, currentRev int64, err error) {
	return s.hash(rev, func(r *mvcc.Reader, at int64, _ *moment) (uint32, error) {
		return r.HashContent(ctx, at)
	})
}

// ErrNotHere says that a revision is of a history that parted from this one.
var ErrNotHere = errors.New("kv: the revision is no part of this history: a reign without it cut it off")

// Digest calls part with the sums of what a range of keys in s holds, as [mvcc.Reader.Digest] does, of one moment. They
// are equal on all nodes of equal history that are asked the same. Errors: command.ErrCompacted, also if more was
// compacted than is asked for, command.ErrFutureRevision, ErrNotHere, mvcc.ErrTooMuch, the context's.
func Digest(ctx context.Context, s *Store, q mvcc.Asked, part func(mvcc.Part) (more bool)) error {
	return readAt(s, func(r *mvcc.Reader, now *moment) error {
		if now.InGap(q.Revision) != 0 {
			return ErrNotHere
		}
		if err := now.CheckRead(q.Revision); err != nil {
			return err
		}
		if q.Compact < now.Compact || q.Compact > q.Revision {
			return command.ErrCompacted
		}
		return r.Digest(ctx, q, part)
	})
}

func (s *Store) hash(rev int64, sum func(r *mvcc.Reader, at int64, now *moment) (uint32, error)) (
	hash uint32, compactRev, currentRev int64, err error,
) {
	err = readAt(s, func(r *mvcc.Reader, now *moment) error {
		at := rev
		if at <= 0 {
			at = now.Revision
		}
		compactRev, currentRev = now.Compact, now.Revision
		err := now.CheckRead(at)
		if err == nil {
			hash, err = sum(r, at, now)
		}
		return err
	})
	return hash, compactRev, currentRev, err
}

// readAt calls read with a reader of a moment, of which no compaction took anything before it could be read.
func readAt(s *Store, read func(r *mvcc.Reader, now *moment) error) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	for {
		now := g.now.Load()
		r, err := mvcc.NewReader(g.db)
		if err != nil {
			return err
		}
		if g.now.Load().Compact != now.Compact {
			// What the reader shows may have been removed already by a later compaction.
			if err := r.Close(); err != nil {
				return err
			}
			continue
		}
		err = read(r, now)
		return cmp.Or(err, r.Close())
	}
}
