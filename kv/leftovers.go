package kv

import (
	"context"
	"errors"
	iofs "io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// leftovers are the directories of a store that are of no use any more and could not be removed. Their tables are links
// that keep the room of what the store has given up since, and the next Open may be far: they are tried again until
// they are gone. It is safe for concurrent use.
type leftovers struct {
	fs    vfs.FS
	again *chore

	mu   sync.Mutex // held while one is tried again: its name may be given anew once remove has returned
	dirs map[string]bool
}

func newLeftovers(o *Options) *leftovers {
	l := &leftovers{fs: o.FS, dirs: map[string]bool{}}
	l.mu.Lock()
	defer l.mu.Unlock() // its chore needs what is set here
	l.again = startChore(o.Clock, o.Logger, "what the store has no use for cannot be removed", l.retry)
	return l
}

// stop has nothing more tried. What is left goes at the next Open.
func (l *leftovers) stop() { l.again.stop() }

// remove removes a directory whose name is needed. If it cannot be removed now, it is tried again.
func (l *leftovers) remove(dir string) error {
	err := removeAll(l.fs, dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.dirs, dir)
		return nil
	}
	l.dirs[dir] = true
	l.again.wakeUp()
	return err
}

// drop is remove behind work that is done, or has failed for another reason: that something is left is no failure of
// it, and the chore says so.
func (l *leftovers) drop(dir string) { _ = l.remove(dir) }

// discard closes a generation and drops its files. The error is that of closing it.
func (l *leftovers) discard(g *generation) error {
	defer l.drop(g.path)
	return g.close()
}

// retry is a step of the chore. While something is left it is an occasion for the next one, which comes after a pause.
func (l *leftovers) retry(context.Context) (more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, dir := range slices.Sorted(maps.Keys(l.dirs)) { // in the same order: what is said already is not said again
		if failed := removeAll(l.fs, dir); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		delete(l.dirs, dir)
	}
	if err != nil {
		l.again.wakeUp()
	}
	return false, err
}

// removeAll removes a directory. Some filesystems complain about what is missing.
func removeAll(fs vfs.FS, dir string) error {
	if err := fs.RemoveAll(dir); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}
