package wal

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// A log of which nothing is left but the note of its newest segment is not a new one.
func TestMissingSegments(t *testing.T) {
	fs, _ := filled(t, 3)
	files := segmentFiles(t, fs)
	for _, name := range files {
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	newest := files[len(files)-1]
	if _, err := tryOpen(fs); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), newest) {
		t.Fatalf("without any segment: %v", err)
	}
}

// A segment that has become nothing, or too short for a header, is named.
func TestEmptySegment(t *testing.T) {
	for _, bytes := range []int{0, 1, headerBytes - 1} {
		fs, _ := filled(t, 3)
		files := segmentFiles(t, fs)
		for _, name := range files {
			good := readFile(t, fs, name)
			writeFile(t, fs, name, good[:bytes])
			if _, err := tryOpen(fs); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s of %d bytes: %v", name, bytes, err)
			}
			writeFile(t, fs, name, good)
		}
	}
}

// A segment of another node is refused by its name, whether it takes the place of one of this log or comes after it.
func TestForeignSegment(t *testing.T) {
	theirs, _ := filled(t, 24)
	replaced, later := 0, 0
	for _, name := range segmentFiles(t, theirs) {
		ours, want := filled(t, 4)
		own := segmentFiles(t, ours)
		var good []byte
		switch {
		case slices.Contains(own, name):
			good = readFile(t, ours, name)
			replaced++
		case name > own[len(own)-1]:
			later++
		default:
			continue
		}
		writeFile(t, ours, name, readFile(t, theirs, name))
		if _, err := tryOpen(ours); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "another log") {
			t.Errorf("with %s of another node: %v", name, err)
		}
		if err := ours.Remove(name); err != nil {
			t.Fatal(err)
		}
		if good != nil {
			writeFile(t, ours, name, good)
		}
		if err := want.differs(openLog(t, ours)); err != nil {
			t.Errorf("after %s was taken away: %v", name, err)
		}
	}
	if replaced == 0 || later == 0 {
		t.Errorf("%d segments took the place of others, %d came after", replaced, later)
	}
}

// legacy makes a log look as former versions left it: nothing is noted, and no segment says which log it is of.
func legacy(t *testing.T, fs vfs.FS) {
	t.Helper()
	if err := fs.Remove(fs.PathJoin(testDir, newestName)); err != nil {
		t.Fatal(err)
	}
	for _, name := range segmentFiles(t, fs) {
		b := readFile(t, fs, name)
		number, _ := parseName(fs.PathBase(name), segmentSuffix)
		h, err := decodeHeader(b, number)
		if err != nil {
			t.Fatal(err)
		}
		h.log = logID{}
		writeFile(t, fs, name, append(h.encode(), b[headerBytes:]...))
	}
}

// A log of a former version goes on, and has from then on what tells that its newest segment is gone.
func TestLogOfAFormerVersion(t *testing.T) {
	fs, want := filled(t, 3)
	legacy(t, fs)
	l := openLog(t, fs)
	if err := want.differs(l); err != nil {
		t.Fatal(err)
	}
	if l.folder.log == (logID{}) {
		t.Error("the log has no identity")
	}
	files := segmentFiles(t, fs)
	newest := files[len(files)-1]
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good := readFile(t, fs, newest)
	if err := fs.Remove(newest); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(fs); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), newest) {
		t.Fatalf("without %s: %v", newest, err)
	}
	writeFile(t, fs, newest, good)
	if err := want.differs(openLog(t, fs)); err != nil {
		t.Fatal(err)
	}
}

// A node that went back to a former version begins segments that it does not note; they are the log's all the same.
func TestSegmentsThatWereNotNoted(t *testing.T) {
	fs, want := filled(t, 4)
	name := fs.PathJoin(testDir, newestName)
	noted := readFile(t, fs, name)
	early := newest{log: logID(noted[16:32]), number: 1}
	writeFile(t, fs, name, early.encode())
	if err := want.differs(openLog(t, fs)); err != nil {
		t.Fatal(err)
	}
	// And one whose note was torn by a crash goes on with the note before it.
	for at := 0; at < len(noted); at += newestSpacing {
		torn := append([]byte(nil), noted...)
		clear(torn[at : at+8])
		writeFile(t, fs, name, torn)
		if err := want.differs(openLog(t, fs)); err != nil {
			t.Fatalf("torn at %d: %v", at, err)
		}
	}
}

// What is noted costs a sync for each segment, and none for what is appended to it.
func TestNothingIsNotedForAnAppend(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	name := fs.PathJoin(testDir, newestName)
	before := string(readFile(t, fs, name))
	for i := range uint64(10) {
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, []byte("x"))}})
	}
	if string(readFile(t, fs, name)) != before {
		t.Error("an append noted something")
	}
}
