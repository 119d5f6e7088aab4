package rewind

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
)

// errNotTried is why something is not removed while a state is made.
var errNotTried = errors.New("a state at a fork is being made")

// remains are directories that are to be removed, none of which is used.
type remains struct {
	config *Config

	mu   sync.Mutex       // taken after that of Rewinds; no file is touched while it is held
	dirs map[string]error // why they were not at last
}

// add has a directory be removed by a later sweep.
func (r *remains) add(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirs[dir] = nil
}

// list returns the directories of states and parts of such, or the others.
func (r *remains) list(states bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(r.dirs)), func(dir string) bool {
		return (filepath.Dir(dir) == r.config.statesDir()) != states
	})
}

// remove is erase of what is not used any more. What could not be removed is told once, and removed by a later sweep.
func (r *remains) remove(dir string) error {
	err := r.erase(dir)
	r.mu.Lock()
	told := r.dirs[dir] != nil
	if err == nil {
		delete(r.dirs, dir)
	} else {
		r.dirs[dir] = err
	}
	r.mu.Unlock()
	switch {
	case err != nil && !told:
		r.config.Logger.Warn("checkpoint not removed; it is tried again", "dir", dir, "err", err)
	case err == nil && told:
		r.config.Logger.Info("checkpoint removed that could not be before", "dir", dir)
	}
	return err
}

// unremoved says what is to be removed and could not be, nil if nothing is.
func (r *remains) unremoved() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	dirs := slices.Sorted(maps.Keys(r.dirs))
	if len(dirs) == 0 {
		return nil
	}
	which := max(0, slices.IndexFunc(dirs, func(dir string) bool { return r.dirs[dir] != nil }))
	return fmt.Errorf("%d that are of no use any more are not removed yet, as %s is not: %w", len(dirs), dirs[which],
		cmp.Or(r.dirs[dirs[which]], errNotTried))
}

// leaves reports whether dir is to be removed, and was not yet.
func (r *remains) leaves(dir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, leaves := r.dirs[dir]
	return leaves
}

// erase durably removes the directory dir, which is not taken for a whole one afterwards, however far it came. It gives
// room back also where the disk has none for another name.
func (r *remains) erase(dir string) error {
	if strings.HasSuffix(dir, partSuffix) {
		return r.config.FS.RemoveAll(dir)
	}
	err := r.eraseAside(dir)
	if durable.Full(err) {
		return r.eraseInPlace(dir)
	}
	return err
}

// eraseAside gives the directory dir the name of a part, and removes that: nothing in it is removed before a power cut
// cannot give it its name back.
func (r *remains) eraseAside(dir string) error {
	fs, part := r.config.FS, dir+partSuffix
	removePart := func() error {
		if err := fs.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
		return fs.RemoveAll(part)
	}
	if _, err := fs.Stat(part); err == nil { // of an attempt before, which may not have come as far as the sync
		if err := removePart(); err != nil {
			return err
		}
	}
	err := fs.Rename(dir, part)
	if errors.Is(err, os.ErrNotExist) {
		if err = fs.SyncDir(filepath.Dir(dir)); errors.Is(err, os.ErrNotExist) { // an attempt before may have lacked it
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	return removePart()
}

// eraseInPlace removes the directory dir, under whichever of both names it is there, as what is no whole one.
func (r *remains) eraseInPlace(dir string) error {
	fs := r.config.FS
	for _, name := range []string{dir + partSuffix, dir} {
		if err := r.spoil(name); err != nil {
			return err
		}
		if err := fs.RemoveAll(name); err != nil {
			return err
		}
	}
	return fs.SyncDir(filepath.Dir(dir)) // for which there may be room now
}

// spoil has what is in the directory dir be no whole one: that of all marks has one in each directory.
func (r *remains) spoil(dir string) error {
	fs := r.config.FS
	if strings.TrimSuffix(dir, partSuffix) != r.config.marksDir() {
		return copies.Spoil(fs, dir)
	}
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		err = errors.Join(err, copies.Spoil(fs, filepath.Join(dir, name)))
	}
	return err
}
