package wal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const testDir = "data/log"

func entry(index, term uint64, data []byte) *raftpb.Entry {
	t := raftpb.EntryNormal
	return &raftpb.Entry{Index: &index, Term: &term, Type: &t, Data: data}
}

// frame returns the payload of a frame of count commands from first on.
func frame(epoch, first uint64, count, commandBytes int) []byte {
	f := timeline.Frame{Epoch: timeline.Epoch(epoch), First: timeline.Position(first)}
	for i := range count {
		f.Commands = append(f.Commands,
			timeline.Command{Data: bytes.Repeat([]byte{byte(first) + byte(i)}, commandBytes)})
	}
	return timeline.AppendFrame(nil, &f)
}

func reign(epoch, first uint64) []byte {
	return timeline.AppendReign(nil,
		timeline.Reign{Epoch: timeline.Epoch(epoch), First: timeline.Position(first), Primary: "us"})
}

func openLog(t testing.TB, fs vfs.FS, change ...func(*Options)) *Log {
	t.Helper()
	l, err := tryOpen(fs, change...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

func tryOpen(fs vfs.FS, change ...func(*Options)) (*Log, error) {
	o := Options{
		FS: pebblefs.New(fs), Dir: testDir, SegmentBytes: 16 << 10, CacheBytes: 8 << 10,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	return Open(o)
}

func mustAppend(t testing.TB, l *Log, ws ...Write) {
	t.Helper()
	if err := l.Append(ws, true); err != nil {
		t.Fatalf("append: %v", err)
	}
}

// model is what a log should hold.
type model struct {
	prevIndex, prevTerm uint64
	entries             []*raftpb.Entry
	state               *raftpb.HardState
}

func (m model) clone() model {
	m.entries = append([]*raftpb.Entry(nil), m.entries...)
	return m
}

func (m *model) last() uint64 { return m.prevIndex + uint64(len(m.entries)) }

func (m *model) append(e *raftpb.Entry) {
	m.entries = append(m.entries[:e.GetIndex()-m.prevIndex-1:e.GetIndex()-m.prevIndex-1], e)
}

func (m *model) term(i uint64) uint64 {
	if i == m.prevIndex {
		return m.prevTerm
	}
	return m.entries[i-m.prevIndex-1].GetTerm()
}

func sameEntry(a, b *raftpb.Entry) bool {
	return a.GetIndex() == b.GetIndex() && a.GetTerm() == b.GetTerm() && a.GetType() == b.GetType() &&
		bytes.Equal(a.Data, b.Data)
}

func sameState(a, b *raftpb.HardState) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.GetTerm() == b.GetTerm() && a.GetVote() == b.GetVote() && a.GetCommit() == b.GetCommit()
}

// differs says how the log differs from the model; the log may hold more of what the model compacted.
func (m *model) differs(l *Log) error {
	first, last := l.FirstIndex(), l.LastIndex()
	if last != m.last() {
		return fmt.Errorf("last index %d, want %d", last, m.last())
	}
	if first > m.prevIndex+1 {
		return fmt.Errorf("first index %d, want at most %d", first, m.prevIndex+1)
	}
	if !sameState(l.HardState(), m.state) {
		return fmt.Errorf("hard state %v, want %v", l.HardState(), m.state)
	}
	for i := m.prevIndex; i <= last; i++ {
		if term, err := l.Term(i); err != nil || term != m.term(i) {
			return fmt.Errorf("term of %d is %d, %v, want %d", i, term, err, m.term(i))
		}
	}
	if _, err := l.Term(last + 1); !errors.Is(err, raft.ErrUnavailable) {
		return fmt.Errorf("term after the last: %v", err)
	}
	if first > 1 {
		if _, err := l.Term(first - 2); !errors.Is(err, raft.ErrCompacted) {
			return fmt.Errorf("term before the first: %v", err)
		}
		if _, err := l.Entries(first-1, first, 1); !errors.Is(err, raft.ErrCompacted) {
			return fmt.Errorf("entry before the first: %v", err)
		}
	}
	for lo := m.prevIndex + 1; lo <= last; {
		got, err := l.Entries(lo, last+1, 3000)
		if err != nil || len(got) == 0 {
			return fmt.Errorf("entries from %d: %d, %w", lo, len(got), err)
		}
		for _, e := range got {
			if want := m.entries[lo-m.prevIndex-1]; !sameEntry(e, want) {
				return fmt.Errorf("entry %d is %v, want %v", lo, e, want)
			}
			lo++
		}
	}
	return nil
}

// naiveSeek is what Seek promises, by looking at everything.
func (m *model) naiveSeek(pos uint64) uint64 {
	for _, e := range m.entries {
		if reach, _, ok := entryReach(e.GetType(), e.Data); ok && reach > pos {
			return e.GetIndex()
		}
	}
	return m.last() + 1
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
