package tail

import (
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestATailLeavesOutWhatWasRefused: the log holds what the region refused, and what it was given twice, between the
// entries of its history. The tail is those entries alone.
func TestATailLeavesOutWhatWasRefused(t *testing.T) {
	log, err := wal.Open(wal.Options{FS: pebblefs.New(vfs.NewCrashableMem()), Dir: "/wal", SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	machine := timeline.NewMachine(&timeline.State{Region: "us"})
	var entries []*raftpb.Entry
	var want []string
	add := func(payload []byte) {
		entries = append(entries,
			&raftpb.Entry{Index: new(uint64(len(entries) + 1)), Term: new(uint64(1)), Data: payload})
	}
	frame := func(epoch timeline.Epoch, first timeline.Position, n int, data string) {
		f := timeline.Frame{Epoch: epoch, First: first, Previous: machine.Cursor().Chain}
		for range n {
			f.Commands = append(f.Commands, timeline.Command{Data: []byte(data)})
		}
		outcome, _, err := machine.Frame(&f)
		if err != nil {
			t.Fatal(err)
		}
		if outcome == timeline.Applied && first > 3 {
			want = append(want, data)
		}
		add(timeline.AppendFrame(nil, &f))
	}
	begin := func(epoch timeline.Epoch, first timeline.Position, n byte) {
		r := timeline.Reign{
			Epoch: epoch, First: first, Primary: "us", Previous: machine.Cursor().Chain, Nonce: timeline.Nonce{n},
		}
		outcome, _, err := machine.Reign(r)
		if err != nil {
			t.Fatal(err)
		}
		if outcome == timeline.Applied && first > 3 {
			want = append(want, "epoch")
		}
		add(timeline.AppendReign(nil, r))
	}
	begin(1, 1, 1)
	frame(1, 1, 3, "shared")
	frame(1, 4, 2, "first")
	begin(2, 4, 9)              // made too early
	begin(2, 6, 2)              // decides
	begin(2, 6, 3)              // once more
	frame(1, 6, 5, "late")      // of the epoch that has ended
	frame(2, 6, 2, "second")    // continues
	frame(2, 6, 2, "twice")     // again
	frame(1, 8, 2, "very late") // of the epoch that has ended
	frame(2, 8, 1, "third")     // continues
	if err := log.Append([]wal.Write{{Entries: entries}}, true); err != nil {
		t.Fatal(err)
	}
	s := machine.State()
	next := entriesOf(log, s.Reigns, 3, s.Cursor.Position, uint64(len(entries)+1))
	var f timeline.Frame
	var got []string
	for {
		p, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text := "epoch"
		if kind, _ := timeline.KindOf(p); kind == timeline.KindFrame {
			if err := timeline.DecodeFrame(p, &f); err != nil {
				t.Fatal(err)
			}
			text = string(f.Commands[0].Data)
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("tail %q, want %q", got, want)
	}
}
