package mvcc

import (
	"math"
	"testing"
)

// TestJumps are on disk and in the history: what a reign's jump led to once, it always does.
func TestJumps(t *testing.T) {
	nonce := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}
	const drawn = 0x0504030201 // the low 40 bits
	for _, c := range []struct {
		what       string
		from, want int64
		jump       Jump
	}{
		{"a reign without a place", 7, 7 + 1_000_000_000, Jump{Epoch: 2, Nonce: nonce}},
		{"the first region", 7, 2<<47 + drawn, Jump{Epoch: 2, Place: 1, Nonce: nonce}},
		{"the second", 7, 2<<47 + 1<<41 + drawn, Jump{Epoch: 2, Place: 2, Nonce: nonce}},
		{"the last, in the last block", 7, 65534<<47 + 63<<41 + drawn, Jump{Epoch: 65534, Place: 64, Nonce: nonce}},
		{"an epoch behind all blocks", 7, 7 + LossyJump + drawn%LossyJump, Jump{Epoch: 65535, Place: 1, Nonce: nonce}},
		{"a revision behind the block", 3 << 47, 3<<47 + LossyJump + drawn%LossyJump,
			Jump{Epoch: 2, Place: 1, Nonce: nonce}},
	} {
		s := jumped(t, &State{Revision: c.from, Compact: neverCompact}, c.jump)
		if s.Revision != c.want || s.valid() != nil || s.InGap(c.want-1) != c.want && c.from < c.want-1 {
			t.Errorf("%s: from %d to %d, want %d; %v", c.what, c.from, s.Revision, c.want, s.valid())
		}
	}
	if s, err := (&State{Revision: math.MaxInt64 - 1<<40 + 1, Compact: -1}).Jumped(Jump{}); err == nil {
		t.Errorf("jumped to %d", s.Revision)
	}
}

// TestNoTwoReignsShareRevisions: whatever reigns are forced by regions that know nothing of each other, those of
// different epochs or regions are further apart than any of them writes, and than what is waited for.
func TestNoTwoReignsShareRevisions(t *testing.T) {
	type reign struct {
		epoch uint64
		place uint8
	}
	first, last := [16]byte{}, [16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	var before int64
	for _, r := range []reign{{1, 1}, {1, 2}, {1, 64}, {2, 1}, {2, 3}, {65533, 64}, {65534, 1}, {65534, 64}} {
		low := Jump{r.epoch, r.place, first}.lands(1)
		high := Jump{r.epoch, r.place, last}.lands(1)
		if low-before < Ahead<<4 || high < low {
			t.Errorf("%+v begins from %d to %d, behind %d", r, low, high, before)
		}
		before = high
	}
	if math.MaxInt64-before < 50_000*2*LossyJump {
		t.Errorf("after the last block, which begins at %d, there is no room", before)
	}
}
