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

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// errNotTried is why something is not removed while a state is made.
var errNotTried = errors.New("a state at a fork is being made")

// sweep removes what was not removed before, the states that nothing can ask for any more (W3), and parts of such.
// While a state is made it leaves that to the next look.
func (r *Rewinds) sweep(v *region.View) {
	r.mu.Lock()
	var gone []string
	if r.giveUp == nil { // who begins to make one later has none of these marks
		gone = slices.DeleteFunc(slices.Collect(maps.Keys(r.remains)), r.isState)
	}
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remove(dir) // it is tried again
	}
	r.sweepStates(v)
}

// sweepStates is what sweep does to states. Whoever waits for preparing waits for nothing else.
func (r *Rewinds) sweepStates(v *region.View) {
	select {
	case r.preparing <- struct{}{}:
		defer func() { <-r.preparing }()
	default:
		return
	}
	r.mu.Lock()
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(r.remains)), func(dir string) bool { return !r.isState(dir) })
	for id, s := range r.states {
		if v.State.Diverged == nil && v.Index >= s.until {
			gone = append(gone, filepath.Join(r.statesDir(), id))
			delete(r.states, id)
		}
	}
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remove(dir) // it is tried again
	}
}

// isState reports whether the directory dir is that of a state, or a part of one.
func (r *Rewinds) isState(dir string) bool { return filepath.Dir(dir) == r.statesDir() }

// remove is erase of what is not used any more. What could not be removed is told once, and removed by a later sweep.
func (r *Rewinds) remove(dir string) error {
	err := r.erase(dir)
	r.mu.Lock()
	told := r.remains[dir] != nil
	if err == nil {
		delete(r.remains, dir)
	} else {
		r.remains[dir] = err
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

// unremoved says what is to be removed and could not be, nil if nothing is. The caller holds mu.
func (r *Rewinds) unremoved() error {
	dirs := slices.Sorted(maps.Keys(r.remains))
	if len(dirs) == 0 {
		return nil
	}
	which := max(0, slices.IndexFunc(dirs, func(dir string) bool { return r.remains[dir] != nil }))
	return fmt.Errorf("%d that are of no use any more are not removed yet, as %s is not: %w", len(dirs), dirs[which],
		cmp.Or(r.remains[dirs[which]], errNotTried))
}

// isLeaving reports whether dir is to be removed, and was not yet.
func (r *Rewinds) isLeaving(dir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, leaves := r.remains[dir]
	return leaves
}

// erase durably removes the directory dir, which is not taken for a whole one afterwards, however far it came. It gives
// room back also where the disk has none for another name.
func (r *Rewinds) erase(dir string) error {
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
func (r *Rewinds) eraseAside(dir string) error {
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
func (r *Rewinds) eraseInPlace(dir string) error {
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
func (r *Rewinds) spoil(dir string) error {
	fs := r.config.FS
	if strings.TrimSuffix(dir, partSuffix) != r.marksDir() {
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
