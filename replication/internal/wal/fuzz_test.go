package wal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// FuzzRecord decodes whatever it is given, and expects what it accepts to be encoded alike again.
func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, 3, 128, record{kind: kindEntry, index: 7, term: 2, synced: 128, data: []byte("payload")}),
		uint64(3), int64(128))
	f.Add(appendRecord(nil, 9, 4096, record{kind: kindHardState, data: appendHardState(nil, newHardState(1, 2, 3))}),
		uint64(9), int64(4096))
	f.Add(appendRecord(nil, 1, 8, record{kind: kindMark, synced: 8}), uint64(1), int64(8))
	f.Fuzz(func(t *testing.T, b []byte, segment uint64, offset int64) {
		r, dataBytes, _, ok := decodeRecordHeader(b, segment, offset)
		if !ok || len(b) < recordHeaderBytes+dataBytes {
			return
		}
		r.data = b[recordHeaderBytes : recordHeaderBytes+dataBytes]
		again, n, _, ok := decodeRecordHeader(appendRecord(nil, segment, offset, r), segment, offset)
		if !ok || n != dataBytes || again.kind != r.kind || again.index != r.index || again.term != r.term ||
			again.synced != r.synced {
			t.Fatalf("%+v became %+v", r, again)
		}
		if r.kind == kindHardState {
			_, _ = decodeHardState(r.data)
		}
	})
}

// FuzzHeader decodes whatever it is given as the header of a segment.
func FuzzHeader(f *testing.F) {
	f.Add((&header{segment: 1, floor: 1}).encode(), uint64(1))
	f.Add((&header{
		segment: 8, follows: 7, sealed: 999, floor: 3, prevIndex: 50, prevTerm: 2, reach: 10,
		hardState: newHardState(2, 1, 9),
	}).encode(), uint64(8))
	f.Fuzz(func(t *testing.T, b []byte, segment uint64) {
		h, err := decodeHeader(b, segment)
		if err != nil {
			return
		}
		again, err := decodeHeader(h.encode(), segment)
		if err != nil || !sameState(again.hardState, h.hardState) || again.prevIndex != h.prevIndex ||
			again.reach != h.reach || again.sealed != h.sealed {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// FuzzIndex decodes whatever it is given as the index of a segment, and looks up entries in what it accepts.
func FuzzIndex(f *testing.F) {
	s := newSegment(&header{segment: 2, follows: 1, prevIndex: 10, prevTerm: 1, reach: 5}, "", nil)
	for i := range uint64(4) {
		s.add(11+i, 1+i/2, raftpb.EntryNormal, frame(1, 6+i, 1, 20000), headerBytes+int64(i)*recordBytes(20060))
	}
	f.Add(s.encodeIndex(), s.last, s.reach)
	f.Fuzz(func(t *testing.T, b []byte, last, reach uint64) {
		s := newSegment(&header{segment: 2, follows: 1, prevIndex: 10, prevTerm: 1, reach: 5}, "", nil)
		s.end = 1 << 20
		if s.decodeIndex(record{kind: kindIndex, index: last, term: reach, data: b}) != nil {
			return
		}
		for _, i := range []uint64{s.prevIndex + 1, s.last, (s.prevIndex + s.last) / 2} {
			if i <= s.prevIndex || i > s.last {
				continue
			}
			if sp := s.span(i, s.last+1); sp.offset < headerBytes || sp.offset >= s.end || sp.hi <= i {
				t.Fatalf("entry %d is looked for at %+v", i, sp)
			}
			s.term(i)
		}
	})
}

// FuzzSegment puts bytes over a good segment at some place, and expects Open and Entries to find damage or the log as
// it was, up to where a tail may be torn.
func FuzzSegment(f *testing.F) {
	fs := vfs.NewMem()
	l, err := tryOpen(fs)
	if err != nil {
		f.Fatal(err)
	}
	var want model
	for i := range uint64(6) {
		e := entry(i+1, 1, frame(1, i+1, 1, int(20*i)))
		want.append(e)
		mustAppend(f, l, Write{Entries: []*raftpb.Entry{e}})
	}
	name := l.tail().name
	good := readFile(f, fs, name)
	f.Add(0, []byte("MIMIR"))
	f.Add(headerBytes, []byte{1, 2, 3})
	f.Add(int(l.writer.offset), good[headerBytes:headerBytes+80])
	f.Add(300, make([]byte, 200))
	f.Fuzz(func(t *testing.T, at int, with []byte) {
		if at < 0 || at > len(good) {
			return
		}
		bad := append([]byte(nil), good...)
		copy(bad[at:], with)
		fs := vfs.NewMem()
		if err := fs.MkdirAll(testDir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, fs, name, bad)
		l, err := tryOpen(fs)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if l.LastIndex() > want.last() {
			t.Fatalf("last index %d: entries were invented", l.LastIndex())
		}
		short := want.clone()
		short.entries = short.entries[:l.LastIndex()]
		if err := short.differs(l); err != nil {
			t.Fatal(err)
		}
	})
}
