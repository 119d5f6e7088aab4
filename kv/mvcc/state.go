package mvcc

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/mimir-kv/mimir/kv/command"
)

// FirstRevision is the revision of an empty store, as in etcd.
const FirstRevision = 1

// neverCompact is the compaction revision of a store that was never compacted, as in etcd.
const neverCompact = -1

// State is what every batch saves beside the contents: the revision, and which revisions can be read (M3). Values are
// immutable once published.
type State struct {
	Revision int64 // of the last change
	Compact  int64 // the lowest revision that can be read, at most Revision; -1 if never compacted
	Gaps     []Gap // from old to new, those that end above Compact
}

// Gap is what a lossy reign leaves: revisions strictly between Before and Base belong to no history that survived.
// Someone may have seen them from the deposed primary, so nothing is ever served at them.
type Gap struct {
	Before, Base int64
}

// newState is that of an empty store.
func newState() *State { return &State{Revision: FirstRevision, Compact: neverCompact} }

// CheckRead says whether the contents at rev can be read: nil, command.ErrFutureRevision or command.ErrCompacted.
func (s *State) CheckRead(rev int64) error {
	if rev > s.Revision {
		return command.ErrFutureRevision
	}
	if s.CompactedAt(rev) != 0 {
		return command.ErrCompacted
	}
	return nil
}

// CompactedAt returns the revision at which the history resumes if rev cannot be read or watched from, 0 if it can.
func (s *State) CompactedAt(rev int64) int64 {
	if rev < s.Compact {
		return s.resumes(s.Compact)
	}
	return s.InGap(rev)
}

// resumes returns rev, or where the history goes on if rev is inside a gap.
func (s *State) resumes(rev int64) int64 { return max(rev, s.InGap(rev)) }

// InGap returns the revision at which the history resumes if rev is inside a gap, 0 if it is not.
func (s *State) InGap(rev int64) int64 {
	for _, g := range s.Gaps {
		if g.Before < rev && rev < g.Base {
			return max(g.Base, s.Compact)
		}
	}
	return 0
}

// Before returns the revision before the gap that holds rev, 0 if none does.
func (s *State) Before(rev int64) int64 {
	for _, g := range s.Gaps {
		if g.Before < rev && rev < g.Base {
			return g.Before
		}
	}
	return 0
}

// Between returns how many revisions there are from from up to to, without those inside gaps.
func (s *State) Between(from, to int64) int64 {
	n := to - from + 1
	for _, g := range s.Gaps {
		n -= max(0, min(to, g.Base-1)-max(from, g.Before+1)+1)
	}
	return max(n, 0)
}

// Ago returns the revision n before the newest one, gaps not counted; 0 if there is none, or if it is compacted.
func (s *State) Ago(n int64) int64 {
	if rev := s.Back(s.Revision, n); rev >= max(s.Compact, FirstRevision) {
		return rev
	}
	return 0
}

// Back returns the revision n before rev, gaps not counted, of which one inside a gap is the one before that. It is
// below FirstRevision if there are no so many.
func (s *State) Back(rev, n int64) int64 {
	for i := len(s.Gaps) - 1; i >= 0; i-- {
		g := s.Gaps[i]
		if rev >= g.Base && rev-n >= g.Base {
			break
		}
		if rev >= g.Base {
			n -= rev - g.Base + 1
		}
		rev = min(rev, g.Before)
	}
	return rev - n
}

// Lost says whether a watcher that was sent everything up to upTo, and wants nothing below minimum, can go on: 0, or
// the revision at which the history resumes for it. What it was sent inside a gap is no part of this history; what it
// was sent before a gap is. What it was sent above the revision belongs to a history that this one is not.
func (s *State) Lost(upTo, minimum int64) int64 {
	if next := max(upTo+1, minimum); next < s.Compact {
		return s.resumes(s.Compact)
	}
	if base := s.InGap(upTo); base != 0 {
		return base
	}
	if upTo > s.Revision {
		return s.Begins()
	}
	if minimum > upTo {
		return cmp.Or(s.InGap(minimum), s.Strange(minimum))
	}
	return 0
}

// Compacted returns the state after a compaction at rev, or an error.
func (s *State) Compacted(rev int64) (*State, error) {
	if rev <= s.Compact {
		return nil, command.ErrCompacted
	}
	if rev > s.Revision {
		return nil, command.ErrFutureRevision
	}
	next := *s
	next.Compact, next.Gaps = rev, nil
	for _, g := range s.Gaps {
		if g.Base > rev {
			next.Gaps = append(next.Gaps, g)
		}
	}
	return &next, nil
}

// valid checks that the fields agree.
func (s *State) valid() error {
	if s.Revision < FirstRevision || s.Compact > s.Revision || s.Compact < neverCompact {
		return fmt.Errorf("revision %d, compacted at %d", s.Revision, s.Compact)
	}
	from := int64(0)
	for _, g := range s.Gaps {
		if g.Before < from || g.Base <= g.Before || g.Base <= s.Compact || g.Base > s.Revision {
			return fmt.Errorf("gap (%d, %d) after %d, compacted at %d, revision %d",
				g.Before, g.Base, from, s.Compact, s.Revision)
		}
		from = g.Base
	}
	return nil
}

const stateVersion = 1

// append appends the encoding to dst: version, revision, compaction revision, gaps, CRC-32C.
func (s *State) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Revision))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Compact))
	for _, g := range s.Gaps {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.Before))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.Base))
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeState(p []byte) (*State, error) {
	const fixed = 1 + 8 + 8
	if len(p) < fixed+4 || (len(p)-fixed-4)%16 != 0 || p[0] != stateVersion {
		return nil, fmt.Errorf("%w: state of %d bytes", ErrCorrupt, len(p))
	}
	body := p[:len(p)-4]
	if got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(p[len(p)-4:]); got != want {
		return nil, fmt.Errorf("%w: state has checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	s := &State{
		Revision: int64(binary.LittleEndian.Uint64(body[1:])),
		Compact:  int64(binary.LittleEndian.Uint64(body[9:])),
	}
	for body = body[fixed:]; len(body) > 0; body = body[16:] {
		s.Gaps = append(s.Gaps, Gap{
			Before: int64(binary.LittleEndian.Uint64(body)),
			Base:   int64(binary.LittleEndian.Uint64(body[8:])),
		})
	}
	return s, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Moved returns the state of a content that begins another life: by so many revisions further, which leave a gap, and
// with nothing before that readable if compact. The error says that there are no such revisions, or that the state
// contradicts itself.
func (s *State) Moved(by int64, compact bool) (*State, error) {
	if err := s.valid(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if by < 0 || by > math.MaxInt64-1<<offsetBits-s.Revision {
		return nil, fmt.Errorf("revision %d cannot move by %d", s.Revision, by)
	}
	next := *s
	if by > 0 {
		next.Revision += by
		next.Gaps = append(slices.Clone(s.Gaps), Gap{Before: s.Revision, Base: next.Revision})
	}
	if !compact || next.Compact == next.Revision {
		return &next, nil
	}
	return next.Compacted(next.Revision)
}
