package pagecache

import (
	"io"

	"github.com/mimir-kv/mimir/replication/durable"
)

const pageBytes = 4096

// page is a part of a file in memory.
type page struct {
	data  [pageBytes]byte
	dirty bool // the next sync writes it
}

// cached is what the memory holds of a file, whoever has it open. The lock is that of the FS.
type cached struct {
	name  string
	size  int64
	pages map[int64]*page // by number
}

// file is one opening of a cached file.
type file struct {
	fs *FS
	*cached
	durable.File // of the disk

	at int64 // of Read and Write
}

// page returns a page of the file, brought into memory if it was not.
func (f *file) page(number int64) (*page, error) {
	if p := f.pages[number]; p != nil {
		return p, nil
	}
	p := new(page)
	if _, err := f.File.ReadAt(p.data[:], number*pageBytes); err != nil && err != io.EOF {
		return nil, err
	}
	f.pages[number] = p
	return p, nil
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, offset int64) (n int, err error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.readAt(b, offset)
}

func (f *file) readAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) && offset < f.size {
		p, err := f.page(offset / pageBytes)
		if err != nil {
			return n, err
		}
		within := offset % pageBytes
		m := copy(b[n:], p.data[within:min(pageBytes, within+f.size-offset)])
		n, offset = n+m, offset+int64(m)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *file) WriteAt(b []byte, offset int64) (n int, err error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeAt(b, offset)
}

func (f *file) writeAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		p, err := f.page(offset / pageBytes)
		if err != nil {
			return n, err
		}
		m := copy(p.data[offset%pageBytes:], b[n:])
		p.dirty = true
		n, offset = n+m, offset+int64(m)
		f.size = max(f.size, offset)
	}
	return n, nil
}

// Read implements io.Reader.
func (f *file) Read(b []byte) (n int, err error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err = f.readAt(b, f.at)
	f.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (n int, err error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err = f.writeAt(b, f.at)
	f.at += int64(n)
	return n, err
}

// Sync implements durable.File.
func (f *file) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements durable.File.
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

// sync writes the dirty pages to the disk, or forgets that they are.
func (f *file) sync(disk func() error) error {
	f.fs.mu.Lock()
	fail, name := f.fs.fail, f.name
	f.fs.mu.Unlock()
	var failed error
	if fail != nil {
		failed = fail(name)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for number, p := range f.pages {
		if !p.dirty {
			continue
		}
		p.dirty = false
		offset := number * pageBytes
		if failed != nil {
			continue
		}
		if _, err := f.File.WriteAt(p.data[:min(pageBytes, f.size-offset)], offset); err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	return disk()
}
