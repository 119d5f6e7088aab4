package wal

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// TestTheNoteOfAStart comes back with the log; one that is not whole, or of another log, says nothing, and one of a
// later version is refused.
func TestTheNoteOfAStart(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk)
	defer l.Close()
	if start, known, err := StartOf(l); start != 0 || !known || err != nil {
		t.Fatalf("without a note: %d, %t, %v", start, known, err)
	}
	for _, start := range []uint64{1, 7} {
		if err := NoteStart(l, start); err != nil {
			t.Fatal(err)
		}
		if got, known, err := StartOf(l); got != start || !known || err != nil {
			t.Fatalf("noted %d: %d, %t, %v", start, got, known, err)
		}
	}
	note := encodeStart(l.folder.log, 7)
	flipped := append([]byte(nil), note...)
	flipped[33] ^= 4
	for what, b := range map[string][]byte{
		"nothing": {}, "half": note[:30], "a flipped bit": flipped, "another log": encodeStart(logID{1}, 7),
	} {
		writeFile(t, disk, testDir+"/"+startName, b)
		if start, known, err := StartOf(l); known || err != nil {
			t.Errorf("%s: %d, %t, %v", what, start, known, err)
		}
	}
	later := binary.LittleEndian.AppendUint64(append([]byte(nil), note[:8]...), 2)
	later = append(later, note[16:startBytes-4]...)
	later = binary.LittleEndian.AppendUint32(later, checksum.Of(later))
	writeFile(t, disk, testDir+"/"+startName, later)
	if _, _, err := StartOf(l); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), startName) {
		t.Errorf("of a later version: %v", err)
	}
}

// FuzzStart: whatever a note is, it is read or says nothing.
func FuzzStart(f *testing.F) {
	f.Add(encodeStart(logID{3}, 9))
	f.Add([]byte(startMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, start, ok, err := decodeStart(b)
		if ok && (err != nil || string(encodeStart(log, start)) != string(b)) {
			t.Errorf("%x is start %d of %x: %v", b, start, log, err)
		}
	})
}
