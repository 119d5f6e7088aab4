package atrest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Found is one file of a survey.
type Found struct {
	Path      string
	Bytes     int64 // on the disk
	Encrypted bool
	Key       KeyID // if it is encrypted
	inode     inode
}

// inode tells files apart that may have several names. The zero value says that nobody knows.
type inode struct{ device, number uint64 }

// Survey tells each of every file below dir that is not empty, in the filesystem as it lies on the disk. It reads
// headers only, needs no keys, and changes nothing. A file that goes meanwhile is left out.
func Survey(below vfs.FS, dir string, each func(Found) error) error {
	names, err := below.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		path := below.PathJoin(dir, name)
		info, err := below.Stat(path)
		switch {
		case err == nil && info.IsDir():
			err = Survey(below, path, each)
		case err == nil && info.Mode().IsRegular() && info.Size() > 0 && !strings.HasSuffix(name, renewing):
			err = surveyFile(below, path, info, each)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func surveyFile(below vfs.FS, path string, info vfs.FileInfo, each func(Found) error) error {
	f, err := below.Open(path)
	if err != nil {
		return err
	}
	h, encrypted, err := readHeader(f, path)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return each(Found{
		Path: path, Bytes: info.Size(), Encrypted: encrypted, Key: h.key, inode: inodeOf(info),
	})
}

// RenewAll writes anew what lies below dir, is not as new files are, and is wanted. A file of several names, as the
// tables of the store have, stays one file. It must not run beside anybody who writes there. It returns how many files
// it wrote, and how long they are.
func (s *FS) RenewAll(dir string, wanted func(Found) bool) (files int, bytes int64, err error) {
	if err := s.sweep(dir); err != nil {
		return 0, 0, err
	}
	var old []Found
	err = Survey(s.FS, dir, func(f Found) error {
		if !s.current(header{key: f.Key}, f.Encrypted) && wanted(f) {
			old = append(old, f)
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	// The names of one file come one after the other, so that its former content goes at once.
	slices.SortStableFunc(old, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.inode.device, b.inode.device), cmp.Compare(a.inode.number, b.inode.number))
	})
	for i, f := range old {
		if i > 0 && f.inode != (inode{}) && f.inode == old[i-1].inode {
			if err := s.linkAnew(old[i-1].Path, f.Path); err != nil {
				return files, bytes, fmt.Errorf("write %s anew: %w", f.Path, err)
			}
			continue
		}
		if err := s.Renew(f.Path); err != nil {
			return files, bytes, err
		}
		files, bytes = files+1, bytes+f.Bytes
	}
	return files, bytes, nil
}

// linkAnew gives the file to another name too, in place of what has it.
func (s *FS) linkAnew(from, to string) error {
	if err := s.FS.Link(from, to+renewing); err != nil {
		return err
	}
	if err := s.FS.Rename(to+renewing, to); err != nil {
		return err
	}
	return syncDir(s.FS, s.FS.PathDir(to))
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
