package atrest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

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

	// names is held while a file is opened by its name or given one, and alone while one takes the place of another or
	// the keys change.
	names sync.RWMutex
	keys  Keys // guarded by names

	mu     sync.Mutex
	gates  map[fileID]*gate
	making map[fileID]bool // files of kindOnce that are open for writing
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
	return &FS{FS: below, keys: keys, gates: map[fileID]*gate{}, making: map[fileID]bool{}}
}

// handle makes the one of a file with a header. Who makes the file is told by made, if it is not nil, that it is closed.
func (s *FS) handle(f vfs.File, name string, h header, made func()) (*file, error) {
	k := s.keys.all[h.key]
	if k == nil {
		return nil, keyError(name, h.key)
	}
	derived, err := k.of(h.file)
	if err != nil {
		return nil, err
	}
	if h.kind == kindOnce {
		c, err := newOnce(f, derived, made)
		return &file{below: f, content: c, header: h}, err
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
	return &file{below: f, content: &rewritable{File: f, cipher: cipher, gate: g, leave: leave}, header: h}, nil
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
	h := header{key: s.keys.active.id, kind: k}
	rand.Read(h.file[:]) // never fails
	if err := writeHeader(f, h); err != nil {
		return nil, err
	}
	e, err := s.handle(f, name, h, func() { s.made(h.file, false) })
	if _, ok := e.once(); ok {
		s.made(h.file, true)
	}
	return e, err
}

// made notes that somebody writes a file of kindOnce, or does no longer.
func (s *FS) made(id fileID, still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if still {
		s.making[id] = true
	} else {
		delete(s.making, id)
	}
}

// inUse tells how many have a rewritable file open, or whether somebody writes one of kindOnce.
func (s *FS) inUse(h header) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.gates[h.file]; g != nil {
		return g.handles
	}
	if s.making[h.file] {
		return 1
	}
	return 0
}

// Create implements vfs.FS. The file is written from front to back.
func (s *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.create(name, category, kindOnce)
}

func (s *FS) create(name string, category vfs.DiskWriteCategory, k kind) (vfs.File, error) {
	f, err := s.FS.Create(name, category)
	if err != nil || s.keys.active == nil {
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
	s.names.RLock()
	defer s.names.RUnlock()
	f, _, _, err := s.open(name, options...)
	return f, err
}

func (s *FS) open(name string, options ...vfs.OpenOption) (f vfs.File, h header, encrypted bool, err error) {
	if f, err = s.FS.Open(name, options...); err != nil {
		return nil, h, false, err
	}
	h, encrypted, err = readHeader(f, name)
	if err == nil && !encrypted {
		return f, h, false, nil
	}
	f, err = s.opened(f, name, h, err)
	return f, h, encrypted, err
}

// opened returns the handle of a file with a header, or closes it.
func (s *FS) opened(f vfs.File, name string, h header, err error) (vfs.File, error) {
	if err == nil {
		var e *file
		if e, err = s.handle(f, name, h, nil); err == nil {
			return e, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// OpenReadWrite implements vfs.FS. A file that is not as it is to be is written anew before, unless somebody has it
// open.
func (s *FS) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	for {
		f, err := s.openReadWrite(name, category, options...)
		if !errors.Is(err, errStale) {
			return f, err
		}
		if _, err := s.renew(name, kindRewritable); err != nil {
			return nil, err
		}
	}
}

// errStale says that a file is to be written anew before it is opened.
var errStale = errors.New("not as new files are")

func (s *FS) openReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	s.names.RLock()
	defer s.names.RUnlock()
	f, err := s.FS.OpenReadWrite(name, category, options...)
	if err != nil {
		return nil, err
	}
	h, encrypted, err := readHeader(f, name)
	switch {
	case err != nil:
	case !encrypted && s.keys.active == nil:
		return f, nil
	case encrypted && h.kind == kindRewritable && (s.current(h, encrypted) || s.inUse(h) > 0):
		return s.opened(f, name, h, nil)
	case encrypted && h.kind == kindOnce && s.inUse(h) > 0:
		err = fmt.Errorf("%s: %w", name, errTwice)
	case !encrypted:
		if fresh, err := s.beginIfEmpty(f, name); fresh != nil || err != nil {
			return fresh, err
		}
		err = errStale
	default:
		err = errStale
	}
	return nil, errors.Join(err, f.Close())
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

// current tells whether a file is under the key of new ones.
func (s *FS) current(h header, encrypted bool) bool {
	id, active := s.keys.Active()
	return encrypted == active && h.key == id
}

func (s *FS) headerOf(name string) (h header, encrypted bool, err error) {
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
	if h, encrypted, err := s.headerOf(name); err != nil {
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
