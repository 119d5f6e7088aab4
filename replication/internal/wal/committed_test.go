package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

// TestWhatWasCommittedIsKnownAfterAKill, though no hard state said so yet; and only of an entry that this log holds.
func TestWhatWasCommittedIsKnownAfterAKill(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *Log) error // before the kill
		want uint64
	}{
		{"nothing is noted", func(*Log) error { return nil }, 2},
		{"an entry of the log", func(l *Log) error { return l.NoteCommitted(4, 2) }, 4},
		{"less, again", func(l *Log) error { return errors.Join(l.NoteCommitted(5, 2), l.NoteCommitted(3, 2)) }, 5},
		{"less than a hard state says", func(l *Log) error { return l.NoteCommitted(1, 2) }, 2},
		{"an entry of another term", func(l *Log) error { return l.NoteCommitted(4, 3) }, 2},
		{"an entry of another log", func(l *Log) error {
			l.committed.log[0]++
			return l.NoteCommitted(4, 2)
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem()
			l := openLog(t, disk)
			var entries []*raftpb.Entry
			for i := range uint64(5) {
				entries = append(entries, entry(i+1, 2, frame(1, i+1, 1, 10)))
			}
			mustAppend(t, l, Write{HardState: newHardState(2, 1, 2), Entries: entries})
			if err := c.do(l); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second start replays, and notes less
				l = openLog(t, disk) // the one before was killed
				if h := l.HardState(); h.GetCommit() != c.want || h.GetTerm() != 2 || h.GetVote() != 1 {
					t.Fatalf("hard state %v, want commit %d", h, c.want)
				}
				if err := l.NoteCommitted(1, 2); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestALogThatLostWhatWasCommittedIsNotOpened: what is noted was durable before; if the end of the log is zeros now,
// nothing else would tell. A note of less, of another log, or none at all says nothing of what is gone.
func TestALogThatLostWhatWasCommittedIsNotOpened(t *testing.T) {
	for noted := range uint64(6) {
		disk := vfs.NewMem()
		l := openLog(t, disk)
		var ends []int64 // of the segment, by how many entries it has
		for i := range uint64(5) {
			ends = append(ends, l.tail().end)
			mustAppend(t, l, Write{HardState: newHardState(2, 1, 1), Entries: []*raftpb.Entry{
				entry(i+1, 2, frame(1, i+1, 1, 10)),
			}})
		}
		if noted > 0 {
			if err := l.NoteCommitted(noted, 2); err != nil {
				t.Fatal(err)
			}
		}
		name := l.tail().name
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		whole, note := readFile(t, disk, name), disk.PathJoin(testDir, committedName)
		for left, end := range ends {
			lost := append([]byte(nil), whole...)
			clear(lost[end:])
			writeFile(t, disk, name, lost)
			l, err := tryOpen(disk)
			if noted <= uint64(left) {
				if err != nil || l.Close() != nil {
					t.Errorf("%d noted, %d left: %v", noted, left, err)
				}
				continue
			}
			if text := fmt.Sprint(err); !errors.Is(err, ErrCorrupt) || !strings.Contains(text, name) ||
				!strings.Contains(text, note) {
				t.Errorf("%d noted, %d left: %v", noted, left, err)
			}
		}
	}
}

// TestANoteCountsBehindWhichAPowerCutLeftSomething: it is written where it was, and the rest stays.
func TestANoteCountsBehindWhichAPowerCutLeftSomething(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk)
	mustAppend(t, l, Write{HardState: newHardState(2, 1, 1), Entries: []*raftpb.Entry{
		entry(1, 2, frame(1, 1, 1, 10)), entry(2, 2, frame(1, 2, 1, 10)),
	}})
	writeFile(t, disk, disk.PathJoin(testDir, committedName), bytes.Repeat([]byte{7}, 4175))
	if err := errors.Join(l.NoteCommitted(2, 2), l.Close()); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, disk)
	if got := l.HardState().GetCommit(); got != 2 {
		t.Errorf("up to entry %d is known to be committed, and 2 was noted", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsWrittenToALogThatIsNotOpened: behind the record that is rotten there are whole ones, of entries that
// were committed, which somebody may read who has to.
func TestNothingIsWrittenToALogThatIsNotOpened(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk)
	begins := l.tail().end
	mustAppend(t, l, Write{HardState: newHardState(2, 1, 1), Entries: []*raftpb.Entry{
		entry(1, 2, frame(1, 1, 1, 10)), entry(2, 2, frame(1, 2, 1, 10)), entry(3, 2, frame(1, 3, 1, 10)),
	}})
	if err := l.NoteCommitted(3, 2); err != nil {
		t.Fatal(err)
	}
	name := l.tail().name // of a process that is killed: nothing says that all of this is durable
	rotten := readFile(t, disk, name)
	rotten[begins+recordHeaderBytes] ^= 1
	writeFile(t, disk, name, rotten)
	for range 2 {
		if _, err := tryOpen(disk); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), committedName) {
			t.Fatal(err)
		}
		if !bytes.Equal(readFile(t, disk, name), rotten) {
			t.Fatal("it was written to")
		}
	}
}

// TestATornNoteIsNone: whatever byte of it is another.
func TestATornNoteIsNone(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk)
	mustAppend(t, l, Write{HardState: newHardState(2, 1, 1), Entries: []*raftpb.Entry{
		entry(1, 2, frame(1, 1, 1, 10)), entry(2, 2, frame(1, 2, 1, 10)),
	}})
	if err := l.NoteCommitted(2, 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := disk.PathJoin(testDir, committedName)
	good := readFile(t, disk, name)
	for i := range good {
		bad := []byte(string(good))
		bad[i] ^= 0x10
		writeFile(t, disk, name, bad)
		l := openLog(t, disk)
		if got := l.HardState().GetCommit(); got != 1 {
			t.Errorf("byte %d: commit %d", i, got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
