package wal

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestRebaseHidesWhatWasCut: a region's log holds a tail up to 50, then an install of a state at 20, then the history
// from 21 on.
func TestRebaseHidesWhatWasCut(t *testing.T) {
	l, err := Open(Options{FS: pebblefs.New(vfs.NewMem()), Dir: "log", SegmentBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var entries []*raftpb.Entry
	add := func(first timeline.Position) {
		f := timeline.Frame{Epoch: 1, First: first, Commands: []timeline.Command{{Data: make([]byte, 200)}}}
		i := uint64(len(entries) + 1)
		entries = append(entries, &raftpb.Entry{Index: &i, Term: new(uint64(1)), Data: timeline.AppendFrame(nil, &f)})
	}
	for p := range 50 {
		add(timeline.Position(p + 1))
	}
	for p := 21; p <= 80; p++ {
		add(timeline.Position(p))
	}
	if err := l.Append([]Write{{Entries: entries}}, true); err != nil {
		t.Fatal(err)
	}
	l.Rebase(50, 20)
	if p, ok := l.FirstPosition(); !ok || p != 20 {
		t.Errorf("first position %d, %t", p, ok)
	}
	if _, err := l.Seek(19); !errors.Is(err, raft.ErrCompacted) {
		t.Errorf("seek before the base: %v", err)
	}
	for p := timeline.Position(20); p <= 80; p++ {
		if i, err := l.Seek(p); err != nil || i != uint64(p)+31 {
			t.Fatalf("seek %d: entry %d, %v", p, i, err)
		}
	}
}
