package atrest

import (
	"errors"
	"maps"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrPlain says that keys which encrypt new files cannot take the place of such that do not, or the other way round,
// while files are in use.
var ErrPlain = errors.New("whether new files are encrypted changes with a restart")

// Keys are those that are at hand now.
func (s *FS) Keys() Keys {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.keys
}

// Change puts other keys in place of those at hand: what is made or opened for writing from now on is under the active
// one. Where a file below dir needs a key that is not among them it is refused with [ErrKey], and new files are under
// the key of before.
func (s *FS) Change(dir string, keys Keys) error {
	before := s.Keys()
	if (before.active == nil) != (keys.active == nil) {
		return ErrPlain
	}
	all := maps.Clone(before.all)
	maps.Copy(all, keys.all)
	s.use(Keys{keys.active, all}) // so that no file comes to need a key that goes, while it is looked for those that do
	err := Survey(s.FS, dir, func(f Found) error {
		if f.Encrypted && !keys.Has(f.Key) {
			return keyError(f.Path, f.Key)
		}
		return nil
	})
	if err != nil {
		keys = Keys{before.active, all}
	}
	s.use(keys)
	return err
}

func (s *FS) use(keys Keys) {
	s.names.Lock()
	defer s.names.Unlock()
	s.keys = keys
}

// Remove implements vfs.FS.
func (s *FS) Remove(name string) error {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (s *FS) RemoveAll(name string) error {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (s *FS) Rename(from, to string) error {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.FS.Rename(from, to)
}

// Link implements vfs.FS.
func (s *FS) Link(from, to string) error {
	s.names.RLock()
	defer s.names.RUnlock()
	return s.FS.Link(from, to)
}

var _ vfs.FS = (*FS)(nil)
