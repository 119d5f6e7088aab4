package operator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// fileTime is how long the disk of a file is waited for. Who waited longer goes on without, and so do all others until
// the disk has done what it was asked for.
const fileTime = 2 * time.Second

var errHangs = errors.New("its disk does not answer")

// file is a file that is appended to, a line at a time. One that was renamed or removed is left alone: the next line
// begins a new one. A disk that hangs keeps nobody for longer than fileTime.
type file struct {
	path  string
	turn  chan struct{} // has something in it while somebody uses what follows
	stuck atomic.Bool   // the disk took longer

	to  *os.File // nil: it could not be opened
	cut bool     // a line was written in part
}

func openFile(path string) (*file, error) {
	f := &file{path: path, turn: make(chan struct{}, 1)}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *file) reopen() error { return f.within(f.open) }

// within does something, alone. With an error that is errHangs it may be done later.
func (f *file) within(do func() error) error {
	late := fmt.Errorf("%s: %w", f.path, errHangs)
	if f.stuck.Load() {
		return late
	}
	timer := time.NewTimer(fileTime)
	defer timer.Stop()
	select {
	case f.turn <- struct{}{}:
	case <-timer.C:
		return late
	}
	ended := make(chan error, 1)
	go func() {
		ended <- do()
		f.stuck.Store(false)
		<-f.turn
	}()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	}
	f.stuck.Store(true)
	select {
	case err := <-ended: // it has ended just now, and may have said so before
		f.stuck.Store(false)
		return err
	default:
		return late
	}
}

// open opens the file anew. It does not wait for a reader where that is a pipe. Within alone.
func (f *file) open() error {
	to, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if f.to != nil {
		f.to.Close()
	}
	f.to, f.cut = to, false
	return nil
}

// Write writes a line.
func (f *file) Write(line []byte) (int, error) {
	line = slices.Clone(line) // who waits no longer uses it again
	if err := f.within(func() error { return f.write(line) }); err != nil {
		return 0, err
	}
	return len(line), nil
}

// write writes a line. Within alone.
func (f *file) write(line []byte) error {
	if !f.there() {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.cut {
		if _, err := io.WriteString(f.to, "\n"); err != nil {
			return err
		}
		f.cut = false
	}
	n, err := f.to.Write(line)
	f.cut = n > 0 && n < len(line)
	return err
}

// there reports whether the file that is open is the one at the path. Within alone.
func (f *file) there() bool {
	if f.to == nil {
		return false
	}
	at, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	open, err := f.to.Stat()
	return err == nil && os.SameFile(at, open)
}

func (f *file) close() error {
	return f.within(func() error {
		if f.to == nil {
			return nil
		}
		err := f.to.Close()
		f.to = nil
		return err
	})
}
