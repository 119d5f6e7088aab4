package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/timeline"
)

func TestEmptyLog(t *testing.T) {
	fs := vfs.NewMem()
	for range 2 { // created, then opened
		l := openLog(t, fs)
		if l.FirstIndex() != 1 || l.LastIndex() != 0 || l.HardState() != nil {
			t.Fatalf("empty log holds %d to %d, %v", l.FirstIndex(), l.LastIndex(), l.HardState())
		}
		if term, err := l.Term(0); term != 0 || err != nil {
			t.Fatalf("term of 0: %d, %v", term, err)
		}
		if next, err := l.Seek(0); next != 1 || err != nil {
			t.Fatalf("seek 0: %d, %v", next, err)
		}
		if _, err := l.Entries(1, 2, 1); !errors.Is(err, raft.ErrUnavailable) {
			t.Fatalf("entries of an empty log: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(nil, true); !errors.Is(err, ErrClosed) {
			t.Fatalf("append to a closed log: %v", err)
		}
	}
}

func TestOrder(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(1, 1, nil), entry(2, 1, nil)}})
	for _, index := range []uint64{0, 4} {
		if err := l.Append([]Write{{Entries: []*raftpb.Entry{entry(index, 1, nil)}}}, true); !errors.Is(err, ErrOrder) {
			t.Fatalf("append of %d to 1 to 2: %v", index, err)
		}
	}
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(3, 1, nil)}})
}

func TestEntriesLimit(t *testing.T) {
	for name, cacheBytes := range map[string]int64{"disk": 1, "memory": 1 << 20, "both": 1500} {
		t.Run(name, func(t *testing.T) {
			l := openLog(t, vfs.NewMem(), func(o *Options) { o.CacheBytes = cacheBytes })
			for i := range uint64(20) {
				mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, make([]byte, 100))}})
			}
			for maxEntries := range uint64(22) {
				got, err := l.Entries(1, 21, maxEntries*entryBytes(100))
				if want := min(max(maxEntries, 1), 20); err != nil || uint64(len(got)) != want {
					t.Fatalf("limit of %d entries: %d, %v", maxEntries, len(got), err)
				}
			}
		})
	}
}

// TestSeekReign wants a reign before the frame at the same position, and skips what is not history.
func TestSeekReign(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{
		entry(1, 1, nil), entry(2, 1, reign(1, 1)), entry(3, 1, frame(1, 1, 10, 1)), entry(4, 1, []byte{1, 3, 0, 0}),
		entry(5, 2, reign(2, 11)), entry(6, 2, frame(2, 11, 5, 1)), entry(7, 2, nil),
	}})
	for pos, want := range map[uint64]uint64{0: 2, 1: 3, 9: 3, 10: 5, 11: 6, 14: 6, 15: 8} {
		if got, err := l.Seek(timeline.Position(pos)); got != want || err != nil {
			t.Errorf("seek %d: entry %d, %v; want %d", pos, got, err, want)
		}
	}
}

func TestPositionsAfterReset(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	reset := func(want bool, pos uint64) {
		t.Helper()
		for range 2 {
			if got, ok := l.FirstPosition(); ok != want || uint64(got) != pos {
				t.Fatalf("first position %d, %v; want %d, %v", got, ok, pos, want)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, fs)
		}
	}
	reset(true, 0)
	if err := l.Reset(50, 3, newHardState(3, 0, 50)); err != nil {
		t.Fatal(err)
	}
	reset(false, 0)
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(51, 3, nil), entry(52, 3, frame(1, 200, 3, 1))}})
	reset(true, 199)
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(52, 4, nil)}}) // the only one of a known position is cut
	reset(false, 0)
	if err := l.Reset(60, 4, nil); err != nil {
		t.Fatal(err)
	}
	reset(false, 0)
	if hs := l.HardState(); hs.GetTerm() != 3 {
		t.Fatalf("hard state %v was lost by a reset without one", hs)
	}
}

func TestPins(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	for i := range uint64(400) {
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, make([]byte, 200))}})
	}
	l.Pin("eu", 150)
	l.Pin("ap", 250)
	full := l.Bytes()
	compact := func(index uint64) uint64 {
		t.Helper()
		if err := l.Compact(index); err != nil {
			t.Fatal(err)
		}
		return l.FirstIndex()
	}
	if first := compact(400); first > 150 || first < 50 {
		t.Fatalf("first index %d with a pin at 150", first)
	}
	l.Unpin("eu")
	if first := compact(400); first > 250 || first <= 150 {
		t.Fatalf("first index %d with a pin at 250", first)
	}
	l.Unpin("ap")
	if first := compact(10); first > 250 {
		t.Fatalf("first index %d, but only 10 may go", first)
	}
	if first := compact(400); first <= 300 {
		t.Fatalf("first index %d without pins", first)
	}
	if l.Bytes() > full/4 {
		t.Fatalf("%d of %d bytes are left", l.Bytes(), full)
	}
	if _, err := l.Seek(0); err != nil {
		t.Fatalf("seek 0 of a log without history: %v", err)
	}
}

// TestReadersDuringAppend reads at random while the log is appended to, overwritten and compacted. Every entry says
// what it is, so that one that was mixed up or reused is noticed.
func TestReadersDuringAppend(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	self := func(index, term uint64) []byte { return fmt.Appendf(nil, "%d/%d %0100d", index, term, index) }
	var done atomic.Bool
	var reads atomic.Int64
	var wg sync.WaitGroup
	for reader := range uint64(4) {
		wg.Go(func() {
			random := newRandom(reader)
			for !done.Load() {
				lo := l.FirstIndex()
				last := l.LastIndex()
				if last < lo {
					continue
				}
				lo += random.Uint64N(last - lo + 1)
				entries, err := l.Entries(lo, last+1, 1+random.Uint64N(40<<10))
				if err != nil {
					if !errors.Is(err, raft.ErrCompacted) && !errors.Is(err, raft.ErrUnavailable) {
						t.Error(err)
						return
					}
					continue
				}
				for i, e := range entries {
					if e.GetIndex() != lo+uint64(i) || string(e.Data) != string(self(e.GetIndex(), e.GetTerm())) {
						t.Errorf("at %d: %v", lo+uint64(i), e)
						return
					}
				}
				reads.Add(1)
				if _, err := l.Term(lo); err != nil && !errors.Is(err, raft.ErrCompacted) &&
					!errors.Is(err, raft.ErrUnavailable) {
					t.Error(err)
				}
				if _, err := l.Seek(0); err != nil && !errors.Is(err, raft.ErrUnavailable) &&
					!errors.Is(err, raft.ErrCompacted) {
					t.Error(err)
				}
			}
		})
	}
	random := newRandom(99)
	next, term := uint64(1), uint64(1)
	for step := 0; step < 1500 || reads.Load() < 500 && !t.Failed(); step++ {
		if random.IntN(10) == 0 && next > l.FirstIndex()+1 {
			term++
			next -= 1 + random.Uint64N(min(next-l.FirstIndex(), 150))
		}
		var w Write
		for range 1 + random.IntN(20) {
			w.Entries = append(w.Entries, entry(next, term, self(next, term)))
			next++
		}
		mustAppend(t, l, w)
		if random.IntN(10) == 0 && next > 300 {
			if err := l.Compact(next - 300); err != nil {
				t.Fatal(err)
			}
		}
	}
	done.Store(true)
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := fs.List(testDir); err != nil || len(files) > len(l.segments)+defaultSpareSegments {
		t.Fatalf("%d files for %d segments, %v", len(files), len(l.segments), err)
	}
}

// TestAppendAllocates wants no allocation for an entry, nor for a batch once buffers have grown.
func TestAppendAllocates(t *testing.T) {
	l := openLog(t, vfs.NewMem(), func(o *Options) { o.SegmentBytes, o.CacheBytes = 64<<20, 1<<20 })
	work := batches(500)
	ws := make([]Write, 1)
	n := 0
	step := func() {
		ws[0].Entries = work[n]
		n++
		mustAppend(t, l, ws...)
	}
	for range 100 {
		step()
	}
	if perBatch := testing.AllocsPerRun(300, step); perBatch > 1 {
		t.Errorf("%v allocations for a batch of %d entries", perBatch, benchEntries)
	}
}
