package atrest

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Table tells whether a name is that of a table of the store: such files never change, are many, and have several names
// in different directories.
func Table(name string) bool { return strings.HasSuffix(name, ".sst") }

// Renew writes a file anew as new ones are written, unless it is so already, or somebody has it open who could miss
// that. It takes its place at once and durably; whoever reads a table may go on with that.
func (s *FS) Renew(name string) error {
	_, err := s.renewed(name)
	return err
}

func (s *FS) renewed(name string) (done bool, err error) {
	s.names.RLock()
	h, encrypted, err := s.headerOf(name)
	current := s.current(h, encrypted)
	s.names.RUnlock()
	switch {
	case err != nil || current:
		return current, err
	case encrypted:
		return s.renew(name, h.kind)
	case Table(name):
		return s.renew(name, kindOnce)
	default: // nobody knows how it is written
		return s.renew(name, kindRewritable)
	}
}

// renew writes a file anew as one of kind k. It is not done if somebody has it open, or if it is another one by the
// end.
func (s *FS) renew(name string, k kind) (done bool, err error) {
	s.names.RLock()
	from, was, encrypted, err := s.open(name, vfs.SequentialReadsOption)
	if err != nil {
		s.names.RUnlock()
		return false, err
	}
	defer from.Close()
	next := name + "." + rand.Text() + renewing
	to, err := s.create(next, vfs.WriteCategoryUnspecified, k)
	s.names.RUnlock()
	if err != nil {
		return false, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, chunkBytes))
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil {
		done, err = s.takePlace(next, name, was, encrypted)
	}
	if err != nil || !done {
		_ = s.FS.Remove(next) // if it cannot be, it is swept at the next start
		if err != nil {
			err = fmt.Errorf("write %s anew: %w", name, err)
		}
		return false, err
	}
	return true, syncDir(s.FS, s.FS.PathDir(name))
}

// takePlace gives a copy the name of its original, if that has it still, and nobody but whoever copied has it open.
func (s *FS) takePlace(next, name string, was header, encrypted bool) (done bool, err error) {
	s.names.Lock()
	defer s.names.Unlock()
	copied, sealed, err := s.headerOf(next)
	if err != nil || !s.current(copied, sealed) { // the keys have changed meanwhile
		return false, err
	}
	now, same, err := s.headerOf(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || now != was || same != encrypted {
		return false, err
	}
	self := 0
	if was.kind == kindRewritable {
		self = 1
	}
	if encrypted && s.inUse(was) > self {
		return false, nil
	}
	return true, s.FS.Rename(next, name)
}

func syncDir(below vfs.FS, name string) error {
	d, err := below.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RenewAll writes anew what lies below dir, is not as new files are, and is wanted. A file of several names, as the
// tables of the store have, stays one file. It must not run beside anybody who writes there. It returns how many files
// it wrote, and how long they are.
func (s *FS) RenewAll(dir string, wanted func(Found) bool) (files int, bytes int64, err error) {
	if err := s.sweep(dir); err != nil {
		return 0, 0, err
	}
	old, err := s.old(dir, wanted)
	if err != nil {
		return 0, 0, err
	}
	for _, names := range old {
		done, err := s.renewNames(names)
		if err != nil {
			return files, bytes, err
		}
		if done {
			files, bytes = files+1, bytes+names[0].Bytes
		}
	}
	return files, bytes, nil
}

// RenewBeside writes anew what lies encrypted below dir under another key than new files, beside those who use it: what
// somebody has open to write it, or goes meanwhile, stays as it is. It calls rest after each file with its length, and
// ends with its error. It returns how many files it wrote, and how many are left.
func (s *FS) RenewBeside(dir string, rest func(bytes int64) error) (files, left int, err error) {
	old, err := s.old(dir, func(f Found) bool { return f.Encrypted })
	if err != nil {
		return 0, 0, err
	}
	for _, names := range old {
		if len(names) > 1 && !Table(names[0].Path) { // who opens one of them meanwhile would have a file of his own
			left++
			continue
		}
		done, err := s.renewNames(names)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return files, left, err
		case !done:
			left++
			continue
		}
		files++
		if err := rest(names[0].Bytes); err != nil {
			return files, left, err
		}
	}
	return files, left, nil
}

// old finds the files below dir that are not as new ones are, each with all its names there.
func (s *FS) old(dir string, wanted func(Found) bool) (files [][]Found, err error) {
	var old []Found
	s.names.RLock()
	id, active := s.keys.Active()
	s.names.RUnlock()
	err = Survey(s.FS, dir, func(f Found) error {
		if (f.Encrypted != active || f.Key != id) && wanted(f) {
			old = append(old, f)
		}
		return nil
	})
	slices.SortStableFunc(old, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.inode.device, b.inode.device), cmp.Compare(a.inode.number, b.inode.number))
	})
	for i, f := range old {
		if i > 0 && f.inode != (inode{}) && f.inode == old[i-1].inode {
			files[len(files)-1] = append(files[len(files)-1], f)
		} else {
			files = append(files, []Found{f})
		}
	}
	return files, err
}

// renewNames writes a file anew under all its names.
func (s *FS) renewNames(names []Found) (done bool, err error) {
	first := names[0].Path
	was, encrypted, err := s.headerOf(first)
	if err != nil {
		return false, err
	}
	if done, err = s.renewed(first); err != nil || !done {
		return done, err
	}
	for _, other := range names[1:] {
		err := s.linkAnew(first, other.Path, was, encrypted)
		if err == nil {
			err = syncDir(s.FS, s.FS.PathDir(other.Path))
		}
		if err != nil {
			return false, fmt.Errorf("write %s anew: %w", other.Path, err)
		}
	}
	return true, nil
}

// linkAnew gives a file another name too, in place of its original, if that has the name still.
func (s *FS) linkAnew(from, to string, was header, encrypted bool) error {
	s.names.Lock()
	defer s.names.Unlock()
	now, same, err := s.headerOf(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || now != was || same != encrypted {
		return err
	}
	if err := s.FS.Link(from, to+renewing); err != nil {
		return err
	}
	return s.FS.Rename(to+renewing, to)
}

// sweep removes what a crash left of files that were written anew.
func (s *FS) sweep(dir string) error {
	names, err := s.FS.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.FS.PathJoin(dir, name)
		info, err := s.FS.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			err = s.sweep(path)
		case strings.HasSuffix(name, renewing):
			err = s.FS.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
