package wal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// scarce is a filesystem on which every so many operations that take room find none, a write after half of it.
type scarce struct {
	durable.FS
	left, every int // 0: there is room
}

func (s *scarce) lacks() error {
	if s.every == 0 {
		return nil
	}
	if s.left--; s.left > 0 {
		return nil
	}
	s.left = s.every
	return fmt.Errorf("scarce: %w", syscall.ENOSPC)
}

func (s *scarce) OpenReadWrite(name string) (durable.File, error) {
	if err := s.lacks(); err != nil {
		return nil, err
	}
	file, err := s.FS.OpenReadWrite(name)
	return scarceFile{file, s}, err
}

func (s *scarce) Rename(from, to string) error {
	if err := s.lacks(); err != nil {
		return err
	}
	return s.FS.Rename(from, to)
}

func (s *scarce) FreeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

type scarceFile struct {
	durable.File
	disk *scarce
}

func (f scarceFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.disk.lacks(); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], at)
		return n, err
	}
	return f.File.WriteAt(p, at)
}

// Whatever finds no room is done once there is some, and the log holds what it would hold if there always had been.
func TestALogWaitsForRoom(t *testing.T) {
	for every := 2; every < 12; every += 3 {
		disk := vfs.NewMem()
		fs := &scarce{FS: pebblefs.New(disk)}
		l := openLog(t, nil, on(fs))
		waited := 0
		WaitForRoom(l, func(err error) bool {
			waited++
			fs.left = 20 // what is tried again has room to end
			return durable.Full(err)
		})
		fs.every, fs.left = every, every
		s := &script{random: newRandom(uint64(every)), term: 1, epoch: 1}
		for i := range 100 {
			ws, _ := s.writes()
			mustAppend(t, l, ws...)
			if i%20 == 0 {
				if err := s.model.differs(l); err != nil {
					t.Fatal(err)
				}
			}
			if s.random.IntN(20) == 0 {
				if err := l.Compact(s.compact()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if waited == 0 {
			t.Fatal("there was always room")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		fs.every = 0
		again := openLog(t, disk)
		if err := s.model.differs(again); err != nil {
			t.Errorf("every %d: opened again: %v", every, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Who does not wait, or no longer, has a log that failed, and holds what it acknowledged when it is opened again.
func TestALogThatDoesNotWaitForRoom(t *testing.T) {
	for patience := range 4 {
		disk := vfs.NewMem()
		fs := &scarce{FS: pebblefs.New(disk)}
		l := openLog(t, nil, on(fs))
		left := patience
		if patience > 0 {
			WaitForRoom(l, func(error) bool { left--; return left > 0 })
		}
		s := &script{random: newRandom(uint64(patience)), term: 1, epoch: 1}
		var states []model
		var err error
		for i := 0; err == nil; i++ {
			if i == 50 {
				fs.every, fs.left = 1, 1
			}
			states = []model{s.model.clone()}
			ws, steps := s.writes()
			states = append(append(states, steps...), s.model.clone())
			err = l.Append(ws, true)
		}
		if !errors.Is(err, ErrFailed) || !durable.Full(err) || patience > 0 && left != 0 {
			t.Fatalf("%v, with %d tries left", err, left)
		}
		fs.every = 0
		if err := matchesAny(openLog(t, disk), states); err != nil {
			t.Error(err)
		}
	}
}

// What a sync finds no room for, and the page cache forgets, is written anew once there is some: after a power cut the
// log holds all that was appended.
func TestWhatASyncFindsNoRoomForIsWrittenAnew(t *testing.T) {
	for seed := range uint64(5) {
		disk := vfs.NewCrashableMem()
		machine := above(disk)
		l := openLog(t, nil, on(machine))
		s := &script{random: newRandom(seed), term: 1, epoch: 1}
		waited, left := 0, 0
		WaitForRoom(l, func(err error) bool { waited++; return durable.Full(err) })
		machine.FailSyncs(func(string) error {
			if left--; left >= 0 {
				return fmt.Errorf("quota: %w", syscall.EDQUOT)
			}
			return nil
		})
		for range 30 {
			if s.random.IntN(4) == 0 {
				left = 1 + s.random.IntN(3)
			}
			ws, _ := s.writes()
			sync := s.random.IntN(3) > 0
			if err := l.Append(ws, sync); err != nil {
				t.Fatal(err)
			}
			if !sync || s.random.IntN(4) > 0 {
				continue
			}
			again := openLog(t, nil, on(above(disk.CrashClone(vfs.CrashCloneCfg{}))))
			if err := s.model.differs(again); err != nil {
				t.Fatalf("seed %d: after a power cut: %v", seed, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if waited == 0 {
			t.Fatal("there was always room")
		}
	}
}

// A large append without a sync keeps no more than what a disk may have to be given again.
func TestUnsyncedBytesAreBounded(t *testing.T) {
	l := openLog(t, vfs.NewMem(), func(o *Options) { o.SegmentBytes = 32 << 20 })
	var w Write
	for i := range uint64(24) {
		w.Entries = append(w.Entries, entry(i+1, 1, frame(1, i+1, 1, 1<<20)))
	}
	if err := l.Append([]Write{w}, false); err != nil {
		t.Fatal(err)
	}
	if n := len(l.writer.buffer); n > maxUnsyncedBytes+maxBufferBytes+1<<20 {
		t.Errorf("%d bytes are kept", n)
	}
}

// Nobody waits with a log that is not told to: a sync that finds no room is then final, as every other error.
func TestASyncThatFindsNoRoomIsFinal(t *testing.T) {
	machine := above(vfs.NewCrashableMem())
	l := openLog(t, nil, on(machine))
	s := &script{random: newRandom(1), term: 1, epoch: 1}
	machine.FailSyncs(func(string) error { return syscall.ENOSPC })
	ws, _ := s.writes()
	if err := l.Append(ws, true); !errors.Is(err, ErrFailed) || !durable.Full(err) {
		t.Fatal(err)
	}
}
