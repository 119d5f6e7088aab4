package rewind

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/region"
)

// sweep removes what was not removed before, the states that nothing can ask for any more (W3), and parts of such.
// While a state is made it leaves that to the next look.
func (r *Rewinds) sweep(v *region.View) {
	select {
	case r.preparing <- struct{}{}:
		defer func() { <-r.preparing }()
	default:
		return
	}
	r.mu.Lock()
	gone := slices.Collect(maps.Keys(r.remains))
	for id, until := range r.states {
		if v.State.Diverged == nil && v.Index >= until {
			gone = append(gone, filepath.Join(r.statesDir(), id))
			delete(r.states, id)
		}
	}
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remove(dir) // it is tried again
	}
}

// remove is erase of what is not used any more. What could not be removed is told once, and removed by a later sweep.
func (r *Rewinds) remove(dir string) error {
	err := r.erase(dir)
	r.mu.Lock()
	told := r.remains[dir]
	if err == nil {
		delete(r.remains, dir)
	} else {
		r.remains[dir] = true
	}
	r.mu.Unlock()
	if err != nil && !told {
		r.config.Logger.Warn("checkpoint not removed; it is tried again", "dir", dir, "err", err)
	}
	return err
}

// isLeaving reports whether dir is to be removed, and was not yet.
func (r *Rewinds) isLeaving(dir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, leaves := r.remains[dir]
	return leaves
}

// erase removes the directory dir, which is not taken for a whole one afterwards, however far it came: nothing in it
// is removed before a power cut cannot give it its name back.
func (r *Rewinds) erase(dir string) error {
	fs, part := r.config.FS, dir+partSuffix
	if strings.HasSuffix(dir, partSuffix) {
		return fs.RemoveAll(dir)
	}
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
	if err := fs.Rename(dir, part); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return removePart()
}
