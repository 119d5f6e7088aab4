package wal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// Within is the inverse of BytesFrom: what lies behind the index is no more than asked for, and, but for a spacing of
// the sparse index, no less.
func TestWithinIsTheInverseOfBytesFrom(t *testing.T) {
	l := openLog(t, vfs.NewMem(), func(o *Options) { o.SegmentBytes = 256 << 10 })
	for i := range uint64(2000) {
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, frame(1, i+1, 1, int(100+i)))}})
	}
	if got := Within(l, l.Bytes()); got != 1 {
		t.Errorf("all of it begins at %d", got)
	}
	if got := Within(l, 0); got != l.LastIndex()+1 {
		t.Errorf("nothing begins at %d", got)
	}
	for bytes := int64(64 << 10); bytes < l.Bytes(); bytes += 77_777 {
		got := l.BytesFrom(Within(l, bytes))
		if got > bytes || got < bytes-2*pointSpacingBytes {
			t.Errorf("within %d bytes begin at %d and are %d", bytes, Within(l, bytes), got)
		}
	}
}
