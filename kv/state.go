package kv

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// LossyJump is how far the revision jumps at the beginning of a reign that may have lost a tail: further than a deposed
// primary can have served.
const LossyJump = 1_000_000_000

const (
	firstRevision = 1  // of an empty store, as in etcd
	neverCompact  = -1 // compaction revision of a store that was never compacted, as in etcd
)

// state is what every batch saves beside the contents, and what follows from them. Values are immutable once published.
type state struct {
	revision int64
	compact  int64
	gaps     []gap
	// keys are those that exist at revision, nil if they are more than Options.CountedKeys. They are not saved.
	keys *keySet
}

// gap is what a lossy reign leaves: revisions strictly between before and base belong to no history that survived. Someone may
// have seen them from the deposed primary, so nothing is ever served at them.
type gap struct {
	before, base int64
}

func newState() *state { return &state{revision: firstRevision, compact: neverCompact} }

// checkRead says whether the contents at rev can be read: nil, ErrFutureRevision or ErrCompacted.
func (s *state) checkRead(rev int64) error {
	if rev > s.revision {
		return ErrFutureRevision
	}
	if s.compactedAt(rev) != 0 {
		return ErrCompacted
	}
	return nil
}

// compactedAt returns the revision at which the history resumes if rev cannot be read or watched from, 0 if it can.
func (s *state) compactedAt(rev int64) int64 {
	if rev < s.compact {
		return s.compact
	}
	return s.inGap(rev)
}

// inGap returns the revision at which the history resumes if rev is inside a gap, 0 if it is not.
func (s *state) inGap(rev int64) int64 {
	for _, g := range s.gaps {
		if g.before < rev && rev < g.base {
			return max(g.base, s.compact)
		}
	}
	return 0
}

// lost says whether a watcher that was sent everything up to upTo, and wants nothing below minimum, can go on: 0, or the
// revision at which the history resumes for it. What it was sent inside a gap is no part of this history; what it was sent
// before a gap is.
func (s *state) lost(upTo, minimum int64) int64 {
	if next := max(upTo+1, minimum); next < s.compact {
		return s.compact
	}
	if base := s.inGap(upTo); base != 0 {
		return base
	}
	if minimum > upTo {
		return s.inGap(minimum)
	}
	return 0
}

// jumped returns the state after the beginning of a lossy reign.
func (s *state) jumped() *state {
	next := *s
	next.revision = s.revision + LossyJump
	next.gaps = append(append([]gap(nil), s.gaps...), gap{before: s.revision, base: next.revision})
	return &next
}

// compacted returns the state after a compaction at rev, or an error.
func (s *state) compacted(rev int64) (*state, error) {
	if rev <= s.compact {
		return nil, ErrCompacted
	}
	if rev > s.revision {
		return nil, ErrFutureRevision
	}
	next := *s
	next.compact, next.gaps = rev, nil
	for _, g := range s.gaps {
		if g.base > rev {
			next.gaps = append(next.gaps, g)
		}
	}
	return &next, nil
}

const stateVersion = 1

// append appends the encoding to dst: version, revision, compaction revision, gaps, CRC-32C.
func (s *state) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.revision))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.compact))
	for _, g := range s.gaps {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.before))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.base))
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeState(p []byte) (*state, error) {
	const fixed = 1 + 8 + 8
	if len(p) < fixed+4 || (len(p)-fixed-4)%16 != 0 || p[0] != stateVersion {
		return nil, fmt.Errorf("%w: state of %d bytes", ErrCorrupt, len(p))
	}
	body := p[:len(p)-4]
	if got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(p[len(p)-4:]); got != want {
		return nil, fmt.Errorf("%w: state has checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	s := &state{
		revision: int64(binary.LittleEndian.Uint64(body[1:])),
		compact:  int64(binary.LittleEndian.Uint64(body[9:])),
	}
	for body = body[fixed:]; len(body) > 0; body = body[16:] {
		s.gaps = append(s.gaps, gap{
			before: int64(binary.LittleEndian.Uint64(body)),
			base:   int64(binary.LittleEndian.Uint64(body[8:])),
		})
	}
	return s, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
