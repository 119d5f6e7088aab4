package pagecache

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/replication/durable"
)

// FS is a disk with a page cache. It is safe for concurrent use.
type FS struct {
	durable.FS // the disk

	mu   sync.Mutex
	held map[string]*cached // of the files that have been opened, by name
	fail func(name string) error
}

var _ durable.FS = (*FS)(nil)

// New returns a filesystem above a disk, which nobody else writes to.
func New(disk durable.FS) *FS { return &FS{FS: disk, held: make(map[string]*cached)} }

// FailSyncs has every sync of a file ask fail, with the file's name, whether it fails, and with which error. fail may
// block: so hangs a disk. A nil fail lets all succeed.
func (f *FS) FailSyncs(fail func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// Create implements durable.FS.
func (f *FS) Create(name string) (durable.File, error) {
	below, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, filepath.Clean(name))
	return f.opened(name, below)
}

// Open implements durable.FS.
func (f *FS) Open(name string) (durable.File, error) {
	below, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened(name, below)
}

// OpenReadWrite implements durable.FS.
func (f *FS) OpenReadWrite(name string) (durable.File, error) {
	below, err := f.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened(name, below)
}

// opened returns a file above that of the disk. The caller holds the lock.
func (f *FS) opened(name string, below durable.File) (durable.File, error) {
	key := filepath.Clean(name)
	c := f.held[key]
	if c == nil {
		info, err := f.FS.Stat(name)
		if err != nil {
			_ = below.Close()
			return nil, err
		}
		c = &cached{name: name, size: info.Size(), pages: make(map[int64]*page)}
		f.held[key] = c
	}
	return &file{fs: f, cached: c, File: below}, nil
}

// Remove implements durable.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.FS.Remove(name); err != nil {
		return err
	}
	delete(f.held, filepath.Clean(name))
	return nil
}

// RemoveAll implements durable.FS.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := filepath.Clean(name)
	for other := range f.held {
		if other == key || strings.HasPrefix(other, key+string(filepath.Separator)) {
			delete(f.held, other)
		}
	}
	return f.FS.RemoveAll(name)
}

// Rename implements durable.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.FS.Rename(from, to); err != nil {
		return err
	}
	moved := make(map[string]*cached)
	source, target := filepath.Clean(from), filepath.Clean(to)
	delete(f.held, target)
	for name, c := range f.held {
		if rest, ok := strings.CutPrefix(name, source); ok && (rest == "" || rest[0] == filepath.Separator) {
			delete(f.held, name)
			c.name = target + rest
			moved[c.name] = c
		}
	}
	for name, c := range moved {
		f.held[name] = c
	}
	return nil
}

// Stat implements durable.FS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.FS.Stat(name)
	if c := f.held[filepath.Clean(name)]; err == nil && c != nil {
		return sized{info, c.size}, nil
	}
	return info, err
}

// sized is about a file whose length is not on the disk yet.
type sized struct {
	fs.FileInfo
	size int64
}

// Size implements fs.FileInfo.
func (s sized) Size() int64 { return s.size }
