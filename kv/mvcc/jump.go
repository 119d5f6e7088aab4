package mvcc

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A revision that somebody may have seen must never come back with another meaning, whoever of the regions knew of whom
// when it took over. So the revisions are cut into blocks: one for each epoch and place, and every reign that may have
// lost a tail goes on in its own, at an offset that is drawn for it.
//
//	bits 62-47  epoch, at most lastEpoch
//	bits 46-41  place of the primary among the regions of the fleet
//	bits 40-0   below 2^40 the offset that was drawn, and then a change each
const (
	epochShift = 47
	placeShift = 41
	offsetBits = 40
	// lastEpoch is the last one with a block. What lies above its block is room for the jumps of all later epochs.
	lastEpoch = 1<<16 - 2
)

// LossyJump is how far the revision jumps at least at the beginning of a reign that has no block.
const LossyJump = 1_000_000_000

// Ahead is how far ahead of a store a revision may be to be waited for: less than two blocks are apart, and more than
// half a day of writes.
const Ahead = 1 << 32

// Jump is the beginning of a reign that may have lost a tail.
type Jump struct {
	Epoch uint64
	Place uint8    // of the primary, from 1 on; 0: it was begun by a node that knew of no blocks
	Nonce [16]byte // of the reign
}

// EpochOf returns the epoch in whose blocks a revision is; 0 if it is before all of them.
func EpochOf(revision int64) uint64 { return uint64(revision) >> epochShift }

// lands returns the revision to which the jump leads from the revision from. Without a block, or if from lies behind
// it, that is LossyJump further: exactly for a reign that knew of none, and else up to twice as far, as drawn.
func (j Jump) lands(from int64) int64 {
	if j.Place == 0 {
		return from + LossyJump
	}
	drawn := binary.LittleEndian.Uint64(j.Nonce[:]) & (1<<offsetBits - 1)
	if j.Epoch <= lastEpoch {
		if to := int64(j.Epoch<<epochShift | uint64(j.Place-1)<<placeShift | drawn); to > from {
			return to
		}
	}
	return from + LossyJump + int64(drawn%LossyJump)
}

// Jumped returns the state after the beginning of a reign that may have lost a tail.
func (s *State) Jumped(j Jump) (*State, error) {
	if s.Revision > math.MaxInt64-1<<offsetBits {
		return nil, fmt.Errorf("revision %d: no revisions are left to jump to", s.Revision)
	}
	next := *s
	next.Revision = j.lands(s.Revision)
	next.Gaps = append(append([]Gap(nil), s.Gaps...), Gap{Before: s.Revision, Base: next.Revision})
	return &next, nil
}

// GapOf returns the gap that a jump left, after which came so many later ones. Before is 0 if the gap was compacted and
// only where it ends is known; ok is false if nothing is.
func (s *State) GapOf(j Jump, later int) (g Gap, ok bool) {
	if later < len(s.Gaps) {
		g = s.Gaps[len(s.Gaps)-1-later]
		return g, j.lands(g.Before) == g.Base
	}
	if j.Place == 0 || j.Epoch > lastEpoch {
		return g, false
	}
	g.Base = j.lands(0)
	return g, g.Base <= s.Compact
}

// Begins returns the revision at which what can be read of the present block begins: whoever has followed another
// history goes on from there, after it has read the contents anew.
func (s *State) Begins() int64 {
	from := max(s.Compact, FirstRevision)
	if n := len(s.Gaps); n > 0 {
		from = max(from, s.Gaps[n-1].Base)
	}
	return from
}

// Strange returns the revision at which the history begins for whoever waits for rev, if rev lies so far ahead that it
// was seen in another history or nowhere; 0 if it may be waited for.
func (s *State) Strange(rev int64) int64 {
	if rev-s.Revision <= Ahead { // neither is negative
		return 0
	}
	return s.Begins()
}
