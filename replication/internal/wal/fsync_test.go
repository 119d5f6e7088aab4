package wal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pagecache"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// above returns a machine's view of a disk.
func above(disk vfs.FS) *pagecache.FS { return pagecache.New(pebblefs.New(disk)) }

func on(fs durable.FS) func(*Options) { return func(o *Options) { o.FS = fs } }

// holds returns what is in a log.
func holds(t *testing.T, l *Log) model {
	t.Helper()
	first, last := l.FirstIndex(), l.LastIndex()
	m := model{prevIndex: first - 1, state: l.HardState()}
	var err error
	if m.prevTerm, err = l.Term(first - 1); err != nil {
		t.Fatal(err)
	}
	if m.entries, err = l.Entries(first, last+1, 1<<40); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFailedSync makes every sync fail once. The log stops; the operating system, which has forgotten that it did not
// write, shows what it did not write to the process that is started again. What that process finds in the log is what
// the node counts as its own from then on, so the power cut that follows must not take it.
func TestFailedSync(t *testing.T) {
	for nth := range 40 {
		t.Run(fmt.Sprint(nth), func(t *testing.T) { failedSync(t, nth) })
	}
}

func failedSync(t *testing.T, nth int) {
	disk := vfs.NewCrashableMem()
	machine := above(disk)
	l := openLog(t, nil, on(machine))
	left := nth
	machine.FailSyncs(func(string) error {
		if left--; left == -1 {
			return syscall.EIO
		}
		return nil
	})
	s := &script{random: newRandom(uint64(nth)), term: 1, epoch: 1}
	states := []model{{}}
	var err error
	for err == nil {
		ws, steps := s.writes()
		sync := s.random.IntN(3) > 0
		if err = l.Append(ws, sync); err == nil && sync {
			states = nil
		}
		states = append(append(states, steps...), s.model.clone())
	}
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if again := l.Append(nil, true); !errors.Is(again, ErrFailed) {
		t.Fatalf("a sync is tried again: %v", again)
	}
	machine.FailSyncs(nil)
	for range 2 { // two processes, one after the other, on one machine
		l = openLog(t, nil, on(machine))
		if err := matchesAny(l, states); err != nil {
			t.Fatalf("in the next process: %v", err)
		}
	}
	counted := holds(t, l)
	l = openLog(t, nil, on(above(disk.CrashClone(vfs.CrashCloneCfg{}))))
	if err := counted.differs(l); err != nil {
		t.Fatalf("after a power cut: %v", err)
	}
}

// A disk that goes on failing is not opened: what cannot be written anew is not the node's.
func TestOpenFailsWithTheDisk(t *testing.T) {
	machine := above(vfs.NewCrashableMem())
	l := openLog(t, nil, on(machine))
	s := &script{random: newRandom(1), term: 1, epoch: 1}
	machine.FailSyncs(func(string) error { return syscall.EIO })
	for err := error(nil); err == nil; {
		ws, _ := s.writes()
		err = l.Append(ws, true)
	}
	if _, err := tryOpen(nil, on(machine)); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
}

// The name of a segment that a killed process began is made durable before anything is appended behind it.
func TestNamesAreSyncedAtOpen(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := openLog(t, disk)
	mustAppend(t, l, Write{HardState: newHardState(3, 1, 0)})
	h := &header{segment: 2, follows: 1, sealed: uint64(l.writer.end()), floor: 1, hardState: newHardState(4, 1, 0),
		log: l.folder.log}
	name := l.folder.segmentName(2)
	if err := writeHeader(l.options.FS, name, h); err != nil { // killed before it synced the directory
		t.Fatal(err)
	}
	l = openLog(t, disk)
	mustAppend(t, l, Write{HardState: newHardState(5, 1, 0)})
	if l = openLog(t, disk.CrashClone(vfs.CrashCloneCfg{})); l.HardState().GetTerm() != 5 {
		t.Fatalf("term %d after a power cut, 5 was acknowledged", l.HardState().GetTerm())
	}
}
