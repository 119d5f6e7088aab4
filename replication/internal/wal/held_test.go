package wal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// Entries differ in size by four orders of magnitude: what some of them take is not a share of their number.
func TestBytesFromCountsBytesAndNotEntries(t *testing.T) {
	l := openLog(t, vfs.NewMem(), func(o *Options) { o.SegmentBytes = 1 << 20 })
	const small, large, largeBytes = 5000, 20, 200 << 10
	for i := range uint64(small + large) {
		size := 16
		if i >= small {
			size = largeBytes
		}
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, frame(1, i+1, 1, size))}})
	}
	for _, test := range []struct {
		index uint64
		least int64
	}{
		{small + large + 1, 0},
		{small + large, largeBytes},
		{small + large - 9, 10 * largeBytes},
		{small + 1, large * largeBytes},
	} {
		const slack = 64 << 10
		if got := l.BytesFrom(test.index); got < test.least || got > test.least+slack+int64(large)*100 {
			t.Errorf("from %d: %d bytes, wanted %d", test.index, got, test.least)
		}
	}
	if got, all := l.BytesFrom(1), l.Bytes(); got > all || got < all-(64<<10) {
		t.Errorf("from the first: %d of %d bytes", got, all)
	}
}
