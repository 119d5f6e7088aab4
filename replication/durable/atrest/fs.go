package atrest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// renewing ends the name of a file that is written to take the place of another one. Such files are not listed.
const renewing = ".renewing"

// Refusal is a name that FS does not show. A file that has it, in the directory of the store, keeps programs out that
// know nothing of encryption: Pebble looks for markers there, and refuses one that it cannot read by its name.
const Refusal = "marker.encrypted-needs-a-newer-mimir-and-its-encryption-key-file"

// FS is a filesystem with encrypted files in another one.
type FS struct {
	vfs.FS
	ring atomic.Pointer[ring]

	mu    sync.Mutex // also of whoever changes the ring
	gates map[fileID]*gate
}

// gate is shared by all handles of a rewritable file.
type gate struct {
	sync.RWMutex
	handles int
}

var _ vfs.FS = (*FS)(nil)

// New returns the filesystem in below, whose files are encrypted and decrypted with keys. It is the only one that
// writes to the directories it is used for.
func New(below vfs.FS, keys Keys) *FS {
	s := &FS{FS: below, gates: map[fileID]*gate{}}
	s.ring.Store(newRing(keys, nil))
	return s
}

// open makes the handle of a file with a header.
func (s *FS) open(f vfs.File, name string, h header) (*file, error) {
	k := s.Keys().all[h.key]
	if k == nil {
		return nil, keyError(name, h.key)
	}
	derived, err := k.of(h.file)
	if err != nil {
		return nil, err
	}
	if h.kind == kindOnce {
		c, err := newOnce(f, derived)
		return &file{below: f, content: c, kind: h.kind}, err
	}
	cipher, err := newXTS(derived)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[h.file]
	if g == nil {
		g = new(gate)
		s.gates[h.file] = g
	}
	g.handles++
	leave := sync.OnceFunc(func() { s.leave(h.file, g) })
	return &file{below: f, content: &rewritable{File: f, cipher: cipher, gate: g, leave: leave}, kind: h.kind}, nil
}

func (s *FS) leave(id fileID, g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.handles--; g.handles == 0 {
		delete(s.gates, id)
	}
}

// begin makes an empty file an encrypted one.
func (s *FS) begin(f vfs.File, name string, k kind) (*file, error) {
	h := header{key: s.Keys().active.id, kind: k}
	rand.Read(h.file[:]) // never fails
	if err := writeHeader(f, h); err != nil {
		return nil, err
	}
	return s.open(f, name, h)
}

// Create implements vfs.FS. The file is written from front to back.
func (s *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.create(name, category, kindOnce)
}

func (s *FS) create(name string, category vfs.DiskWriteCategory, k kind) (vfs.File, error) {
	f, err := s.FS.Create(name, category)
	if err != nil || s.Keys().active == nil {
		return f, err
	}
	e, err := s.begin(f, name, k)
	if err != nil {
		return nil, errors.Join(err, f.Close(), s.FS.Remove(name))
	}
	return e, nil
}

// Open implements vfs.FS.
func (s *FS) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.Open(name, options...)
	if err != nil {
		return nil, err
	}
	h, encrypted, err := readHeader(f, name)
	if err == nil && !encrypted {
		return f, nil
	}
	return s.opened(f, name, h, err)
}

// opened returns the handle of a file with a header, or closes it.
func (s *FS) opened(f vfs.File, name string, h header, err error) (vfs.File, error) {
	if err == nil {
		var e *file
		if e, err = s.open(f, name, h); err == nil {
			return e, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// OpenReadWrite implements vfs.FS. A file that is not as it is to be is written anew before, but for one of a key that
// was active since the filesystem was made: somebody else may have that open.
func (s *FS) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	for {
		f, err := s.FS.OpenReadWrite(name, category, options...)
		if err != nil {
			return nil, err
		}
		h, encrypted, err := readHeader(f, name)
		if err == nil && s.goesOn(h, encrypted) && (!encrypted || h.kind == kindRewritable) {
			if !encrypted {
				return f, nil
			}
			return s.opened(f, name, h, nil)
		}
		if err == nil && !encrypted {
			if fresh, err := s.beginIfEmpty(f, name); fresh != nil || err != nil {
				return fresh, err
			}
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = s.renew(name, kindRewritable)
		}
		if err != nil {
			return nil, err
		}
	}
}

// beginIfEmpty makes an empty file an encrypted one. It returns nothing of another.
func (s *FS) beginIfEmpty(f vfs.File, name string) (vfs.File, error) {
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		return nil, nil
	}
	if err == nil {
		var e *file
		if e, err = s.begin(f, name, kindRewritable); err == nil {
			return e, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// ReuseForWrite implements vfs.FS. It does not: a new file has keys of its own.
func (s *FS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.Remove(from); err != nil {
		return nil, err
	}
	return s.Create(to, category)
}

// Renew writes a file anew as new ones are written, unless it is so already. It takes its place at once and durably.
// Nobody may have it open for writing; whoever reads it may go on with that.
func (s *FS) Renew(name string) error {
	h, encrypted, err := s.header(name)
	if err != nil || s.current(h, encrypted) {
		return err
	}
	switch {
	case encrypted:
		return s.renew(name, h.kind)
	case Table(name):
		return s.renew(name, kindOnce)
	default: // nobody knows how it is written
		return s.renew(name, kindRewritable)
	}
}

// Table tells whether a name is that of a table of the store: such files never change, are many, and have several names
// in different directories.
func Table(name string) bool { return strings.HasSuffix(name, ".sst") }

func (s *FS) renew(name string, k kind) error {
	from, err := s.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.create(name+renewing, vfs.WriteCategoryUnspecified, k)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, chunkBytes))
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = s.FS.Rename(name+renewing, name)
	}
	if err != nil {
		_ = s.FS.Remove(name + renewing) // if it cannot be, the next one takes its place
		return fmt.Errorf("write %s anew: %w", name, err)
	}
	return syncDir(s.FS, s.FS.PathDir(name))
}

func syncDir(below vfs.FS, name string) error {
	d, err := below.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// current tells whether a file is under the key of new ones.
func (s *FS) current(h header, encrypted bool) bool {
	id, active := s.Keys().Active()
	return encrypted == active && h.key == id
}

func (s *FS) header(name string) (h header, encrypted bool, err error) {
	f, err := s.FS.Open(name)
	if err != nil {
		return h, false, err
	}
	h, encrypted, err = readHeader(f, name)
	return h, encrypted, errors.Join(err, f.Close())
}

// Stat implements vfs.FS.
func (s *FS) Stat(name string) (vfs.FileInfo, error) {
	info, err := s.FS.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() < headerBytes {
		return info, err
	}
	if h, encrypted, err := s.header(name); err != nil {
		return nil, err
	} else if encrypted {
		return contentInfo{info, h.kind}, nil
	}
	return info, nil
}

// List implements vfs.FS.
func (s *FS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	return slices.DeleteFunc(names, func(name string) bool {
		return strings.HasSuffix(name, renewing) || name == Refusal
	}), err
}

// Unwrap implements vfs.FS.
func (s *FS) Unwrap() vfs.FS { return s.FS }
