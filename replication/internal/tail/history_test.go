package tail

import (
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
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
	next := History(log, s.Reigns, 3, s.Cursor.Position, uint64(len(entries)+1))
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

// TestATailBeginsWithinAFrame: where the histories part is for their chains to say, and not for the frames.
func TestATailBeginsWithinAFrame(t *testing.T) {
	m, l := timeline.NewMachine(&timeline.State{Region: "us"}), &shortLog{}
	r := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	if _, why, err := m.Reign(r); why != "" || err != nil {
		t.Fatal(why, err)
	}
	payloads := [][]byte{timeline.AppendReign(nil, r)}
	for _, words := range [][]string{{"a", "b", "c"}, {"d"}} {
		c := m.Cursor()
		f := timeline.Frame{Epoch: 1, First: c.Position + 1, Previous: c.Chain}
		for _, w := range words {
			f.Commands = append(f.Commands, timeline.Command{Data: []byte(w)})
		}
		if _, why, err := m.Frame(&f); why != "" || err != nil {
			t.Fatal(why, err)
		}
		payloads = append(payloads, timeline.AppendFrame(nil, &f))
	}
	for i, p := range payloads {
		l.entries = append(l.entries, &raftpb.Entry{Index: new(uint64(i + 1)), Data: p})
	}
	st, words := m.State(), []string{"a", "b", "c", "d"}
	for fork := range st.Cursor.Position {
		tails := tailsOn(vfs.NewCrashableMem())
		d := timeline.Divergence{Fork: fork, At: st.Cursor.Position, Claim: timeline.Reign{Epoch: 2, Primary: "eu"}}
		if err := NewSaver(tails, l).Save(d, &st, uint64(len(payloads)+1), noCopy); err != nil {
			t.Fatalf("behind %d: %v", fork, err)
		}
		list, err := tails.List()
		if err != nil || len(list) != 1 {
			t.Fatalf("behind %d: %+v, %v", fork, list, err)
		}
		var got []string
		err = tails.Read(t.Context(), list[0].Name,
			func(_ timeline.Epoch, p timeline.Position, c contract.Command) error {
				if want := fork + timeline.Position(len(got)) + 1; p != want {
					t.Errorf("behind %d: position %d, want %d", fork, p, want)
				}
				got = append(got, string(c.Data))
				return nil
			})
		if err != nil || !slices.Equal(got, words[fork:]) {
			t.Errorf("behind %d: %q, %v", fork, got, err)
		}
	}
}
