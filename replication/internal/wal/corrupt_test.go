package wal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"
)

// readFile returns the contents of a file of the log.
func readFile(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeFile makes a file with these contents, in place of what was there.
func writeFile(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func segmentFiles(t testing.TB, fs vfs.FS) (names []string) {
	t.Helper()
	list, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	for _, name := range list {
		if strings.HasSuffix(name, segmentSuffix) {
			names = append(names, fs.PathJoin(testDir, name))
		}
	}
	return names
}

// filled returns a disk with a closed log of several segments, some of it overwritten, and what it holds.
func filled(t testing.TB, segments int) (*vfs.MemFS, model) {
	t.Helper()
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := &script{random: newRandom(7), term: 1, epoch: 1}
	for len(segmentFiles(t, fs)) < segments {
		ws, _ := s.writes()
		mustAppend(t, l, ws...)
	}
	for range 3 {
		ws, _ := s.writes()
		mustAppend(t, l, ws...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, s.model
}

// TestFlippedBits damages one bit at a time of a log that was closed, everywhere. The damage is either found, and said
// where, or it changes nothing; what is read is never wrong (invariant 13).
func TestFlippedBits(t *testing.T) {
	fs, want := filled(t, 3)
	random := newRandom(1)
	files := segmentFiles(t, fs)
	for n, name := range files {
		good := readFile(t, fs, name)
		found := 0
		for at := 0; at < len(good); at += 1 + random.IntN(200*raceShare) {
			bad := slices.Clone(good)
			bad[at] ^= 1 << random.IntN(8)
			writeFile(t, fs, name, bad)
			l, err := tryOpen(fs)
			if err == nil {
				err = want.differs(l)
				for _, s := range l.segments {
					_ = s.file.Close() // not Close, which would write a mark
				}
			}
			switch {
			case err == nil:
			case !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion), !strings.Contains(err.Error(), name):
				t.Fatalf("bit of byte %d of %s: %v", at, name, err)
			default:
				found++
			}
		}
		writeFile(t, fs, name, good)
		if found < 5/raceShare { // of a share of the bits, a share
			t.Errorf("segment %d: damage found only %d times", n, found)
		}
	}
}

// TestDamageIsNamed damages one entry in the newest segment and expects its segment and offset in the error.
func TestDamageIsNamed(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	for i := range uint64(5) {
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, frame(1, i+1, 1, 100))}})
	}
	name, size := l.tail().name, recordBytes(len(frame(1, 1, 1, 100)))
	// The log is not closed: the later entries prove that the third was durable.
	bad := readFile(t, fs, name)
	offset := headerBytes + 2*size
	bad[offset+recordHeaderBytes+70] ^= 1
	writeFile(t, fs, name, bad)
	_, err := tryOpen(fs)
	if want := fmt.Sprintf("%s at offset %d", name, offset); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want %q in it", err, want)
	}
}

// TestTornTail cuts the newest segment at every byte of its last append. What was synced before stays, and the log goes
// on from there.
func TestTornTail(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	mustAppend(t, l, Write{HardState: newHardState(1, 2, 0), Entries: []*raftpb.Entry{entry(1, 1, frame(1, 1, 2, 50))}})
	before := l.writer.offset
	mustAppend(t, l, Write{
		Entries: []*raftpb.Entry{entry(2, 1, frame(1, 3, 1, 40)), entry(3, 1, nil), entry(4, 1, frame(1, 4, 1, 9))},
	})
	name, after := l.tail().name, l.writer.offset
	good := readFile(t, fs, name)
	for cut := before; cut < after; cut++ {
		for _, zero := range []bool{true, false} {
			torn := slices.Clone(good[:cut])
			if zero {
				torn = append(torn, make([]byte, len(good)-int(cut))...)
			}
			writeFile(t, fs, name, torn)
			l := openLog(t, fs)
			if last := l.LastIndex(); last < 1 || last > 4 {
				t.Fatalf("cut at %d: last index %d", cut, last)
			}
			next := l.LastIndex() + 1
			mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(next, 2, []byte("new"))}})
			l = openLog(t, fs)
			if term, err := l.Term(next); l.LastIndex() != next || term != 2 || err != nil {
				t.Fatalf("cut at %d: last index %d, term %d, %v", cut, l.LastIndex(), term, err)
			}
		}
	}
}

// TestTornTailStaysCut lets a crash lose the first of two entries of an append. Once the second was cut, it must not
// come back behind a new entry of the same size.
func TestTornTailStaysCut(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(1, 1, []byte("first"))}})
	offset := l.writer.offset
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(2, 1, []byte("old 2")), entry(3, 1, []byte("old 3"))}})
	name := l.tail().name
	torn := readFile(t, fs, name)
	clear(torn[offset : offset+recordBytes(5)])
	writeFile(t, fs, name, torn)

	l = openLog(t, fs)
	if l.LastIndex() != 1 {
		t.Fatalf("last index %d after a torn append, want 1", l.LastIndex())
	}
	mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(2, 2, []byte("new 2"))}})
	if l = openLog(t, fs); l.LastIndex() != 2 {
		t.Fatalf("last index %d, want 2: an entry that was cut came back", l.LastIndex())
	}
}

// TestMissingSegment removes one segment after the other, the newest among them.
func TestMissingSegment(t *testing.T) {
	fs, want := filled(t, 5)
	files := segmentFiles(t, fs)
	for _, name := range files {
		good := readFile(t, fs, name)
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
		_, err := tryOpen(fs)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Fatalf("without %s: %v", name, err)
		}
		writeFile(t, fs, name, good)
	}
	if err := want.differs(openLog(t, fs)); err != nil {
		t.Fatal(err)
	}
}

// TestDiskErrors makes every operation that changes the disk fail once. The log is poisoned from then on, and what was
// acknowledged before is there when it is opened again.
func TestDiskErrors(t *testing.T) {
	for nth := int32(0); nth < 200; nth += raceShare {
		diskErrors(t, nth, syscall.EIO, 1)
		if nth%4 == 0 {
			diskErrors(t, nth, syscall.ENOSPC, math.MaxInt32) // what is full stays so
		}
	}
}

// diskErrors has so many operations fail from the nth on.
func diskErrors(t *testing.T, nth int32, errno error, times int32) {
	disk := vfs.NewCrashableMem()
	armed := false
	left := nth
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		// That a released segment is not kept, or not removed, is no failure.
		released := op.Kind == errorfs.OpRemove ||
			op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, segmentSuffix)
		if armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !released {
			if left--; left < 0 && left >= -times {
				return errno
			}
		}
		return nil
	}))
	l := openLog(t, fs)
	s := &script{random: newRandom(uint64(nth)), term: 1, epoch: 1}
	armed = true
	states := []model{{}}
	var err error
	for err == nil {
		ws, steps := s.writes()
		acknowledged := s.model.clone()
		if err = l.Append(ws, true); err == nil {
			states = []model{acknowledged}
		} else {
			states = append(states, steps...)
		}
	}
	if !errors.Is(err, ErrFailed) || !errors.Is(err, errno) {
		t.Fatalf("operation %d: %v", nth, err)
	}
	for _, again := range []error{l.Append(nil, true), l.Compact(1 << 40), l.Reset(9, 9, nil), l.Close()} {
		if nth >= 0 && (again == nil || !errors.Is(again, errno)) {
			t.Fatalf("operation %d: a failed log goes on: %v", nth, again)
		}
	}
	l = openLog(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	if err := matchesAny(l, states); err != nil {
		t.Fatalf("operation %d: %v", nth, err)
	}
}
