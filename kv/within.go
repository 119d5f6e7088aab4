package kv

import (
	"context"
	"errors"
	"slices"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Who follows a part of a history has the keys of some spans alone, each version as it is here: the same revisions,
// create revisions, versions and leases. So what both hold of those spans at one revision has the same Digest.

// ErrBehind says that a store has not come to a revision yet.
var ErrBehind = errors.New("kv: the store has not come to that revision yet")

// scannedAtOnce is after how many changes a read of a part of the history ends, whether or not they are of the part.
const scannedAtOnce = 1 << 16

// ChangesWithin calls visit with each change behind the revision after of the keys of the spans, in order, and returns
// the state of which that is all. It is of the newest revision, or of an earlier one if the changes come to about most
// bytes before, or are many. Key and version are valid during the call. Errors: ErrNotHere if after is of a history
// that this is not, ErrBehind, command.ErrCompacted, and that of visit.
func ChangesWithin(
	s *Store, spans []command.Span, after, most int64, visit func(key []byte, v *mvcc.Version) error,
) (to mvcc.State, err error) {
	g, err := s.acquire()
	if err != nil {
		return to, err
	}
	defer g.release()
	now := g.now.Load()
	switch {
	case now.InGap(after) != 0:
		return to, ErrNotHere
	case after > now.Revision: // of the future, or of another history
		return to, ErrBehind
	}
	h, err := mvcc.OpenHistory(g.db, after+1, now.Revision)
	if err != nil {
		return to, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if after+1 < g.now.Load().Compact { // loaded behind the iterator: some of it may be gone
		return to, command.ErrCompacted
	}
	upTo, err := changesWithin(h, spans, now.Revision, most, visit)
	if err != nil {
		return to, err
	}
	return now.upTo(upTo), nil
}

// changesWithin visits the changes of h, which ends at a revision, and returns up to which it came.
func changesWithin(
	h *mvcc.History, spans []command.Span, end, most int64, visit func(key []byte, v *mvcc.Version) error,
) (upTo int64, err error) {
	held, seen, last := int64(0), 0, int64(0)
	for ok := h.First(); ok; ok = h.Next() {
		key, at, err := h.Change()
		if err != nil {
			return 0, err
		}
		if at.Main > last && (held >= most || seen >= scannedAtOnce) {
			return at.Main - 1, nil
		}
		last, seen = at.Main, seen+1
		if !inSpans(spans, key) {
			continue
		}
		v, err := h.Version(key, at)
		if err != nil {
			return 0, err
		}
		held += changeBytes + int64(len(key)+len(v.Value))
		if err := visit(key, &v); err != nil {
			return 0, err
		}
	}
	return end, h.Err()
}

// RevisionsBehind returns how many revisions of s are behind one; what lossy reigns jumped over is none.
func RevisionsBehind(s *Store, revision int64) int64 {
	now := s.now()
	return now.Between(revision+1, now.Revision)
}

// EpochOf returns the epoch whose block of revisions a revision is in, 0 if it is before all blocks.
func EpochOf(revision int64) uint64 { return mvcc.EpochOf(revision) }

func inSpans(spans []command.Span, key []byte) bool {
	return slices.ContainsFunc(spans, func(s command.Span) bool { return s.Contains(key) })
}

// upTo is the state that m was at a revision, as far as is known since: one behind which nothing was compacted.
func (m *moment) upTo(revision int64) mvcc.State {
	to := mvcc.State{Revision: revision, Compact: min(m.Compact, revision)}
	for _, g := range m.Gaps {
		if g.Base <= revision {
			to.Gaps = append(to.Gaps, g)
		}
	}
	return to
}

// HeldWithin calls visit with all that the spans hold at the newest revision, which is told to begin before: their
// keys, in order, and then what of them that revision deleted, for who watches from there on. An error of either ends
// it. What is read stays on the disk until then.
func HeldWithin(
	ctx context.Context, s *Store, spans []command.Span, begin func(revision int64) error, visit mvcc.Visitor,
) error {
	return readAt(s, func(r *mvcc.Reader, now *moment) error {
		if err := begin(now.Revision); err != nil {
			return err
		}
		for _, sp := range spans {
			if _, err := r.Scan(ctx, sp, now.Revision, mvcc.NoLimit, visit); err != nil {
				return err
			}
		}
		return deletedWithin(r, spans, now.Revision, visit)
	})
}

// deletedWithin visits what a revision deleted.
func deletedWithin(r *mvcc.Reader, spans []command.Span, revision int64, visit mvcc.Visitor) error {
	var changed [][]byte
	_, err := r.Changed(revision, revision, mvcc.NoLimit, func(key []byte, _ mvcc.Stamp) {
		if inSpans(spans, key) {
			changed = append(changed, slices.Clone(key))
		}
	})
	for i := 0; i < len(changed) && err == nil; i++ {
		var v mvcc.Version
		if v, err = r.Newest(changed[i], revision); err == nil && v.Main == revision && !v.Exists() {
			err = visit(changed[i], &v)
		}
	}
	return err
}
