package operator

import (
	"io"
	"os"
	"sync"
)

// file is a file that is appended to, a line at a time. One that was renamed or removed is left alone: the next line
// begins a new one.
type file struct {
	path string

	mu  sync.Mutex
	to  *os.File // nil: it could not be opened
	cut bool     // a line was written in part
}

func openFile(path string) (*file, error) {
	f := &file{path: path}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *file) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

// open opens the file anew. mu is held.
func (f *file) open() error {
	to, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
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
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.there() {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.cut {
		if _, err := io.WriteString(f.to, "\n"); err != nil {
			return 0, err
		}
		f.cut = false
	}
	n, err := f.to.Write(line)
	f.cut = n > 0 && n < len(line)
	return n, err
}

// there reports whether the file that is open is the one at the path. mu is held.
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
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.to == nil {
		return nil
	}
	err := f.to.Close()
	f.to = nil
	return err
}
