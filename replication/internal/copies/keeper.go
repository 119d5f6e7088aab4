package copies

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
)

// partSuffix ends the names of directories that are no copies yet.
const partSuffix = ".tmp"

// partName is the name of one, of an applied index and of how many were begun.
const partName = "%d-%d" + partSuffix

// Keeper keeps copies of a volatile storage beside the log: one directory each, named by applied index. It is safe for
// concurrent use.
type Keeper struct {
	maker  *Maker
	dir    string
	logger *slog.Logger

	keeping sync.Mutex // held while a copy takes the place of another
	left    []string   // what is no use any more, and could not be removed
	aside   []string   // what a copy took the name from, as long as a power cut may give it that back

	mu    sync.Mutex
	began int    // parts begun, here or before, so that no two write to one place
	kept  uint64 // applied index of the copy that is there; zero: there is none
}

// NewKeeper returns the keeper of the copies in dir, which is its own.
func NewKeeper(m *Maker, dir string, logger *slog.Logger) *Keeper {
	return &Keeper{maker: m, dir: dir, logger: logger}
}

// Newest returns the directory of the newest copy, "" if there is none, and removes what was never finished, and
// older copies: later, if it cannot be now. The name of that copy is durable then (C4): whoever gave it may not have
// come to sync it. It is called before anything is begun.
func (k *Keeper) Newest() (string, error) {
	fs := k.maker.fs
	names, err := fs.List(k.dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var newest uint64
	var parts, copies []string
	for _, n := range names {
		if strings.HasSuffix(n, partSuffix) {
			parts = append(parts, n)
		} else if i, err := strconv.ParseUint(n, 10, 64); err == nil {
			newest = max(newest, i)
			copies = append(copies, n)
		}
	}
	if len(parts)+len(copies) == 0 {
		return "", nil
	}
	parts, whole := k.unfinished(parts)
	k.leave(parts) // which may have filled the disk
	if err := fs.SyncDir(k.dir); err != nil {
		return "", fmt.Errorf("sync %s, where copies of the state are: %w", k.dir, err)
	}
	k.leave(whole) // one may have had the name of a copy, and a power cut gives that back to no half of it any more
	if newest == 0 {
		return "", nil
	}
	k.setKept(newest)
	k.leave(slices.DeleteFunc(copies, func(n string) bool { return filepath.Join(k.dir, n) == k.path(newest) }))
	return k.path(newest), nil
}

// unfinished tells apart those parts that were never whole, and hence have never had the name of a copy (C2).
func (k *Keeper) unfinished(parts []string) (unfinished, whole []string) {
	for _, n := range parts {
		if _, err := k.maker.fs.Stat(filepath.Join(k.dir, n, metadataFile)); errors.Is(err, os.ErrNotExist) {
			unfinished = append(unfinished, n)
		} else {
			whole = append(whole, n)
		}
	}
	return unfinished, whole
}

// leave removes parts and copies of an earlier process. What cannot be removed now is left to the next Keep, and its
// name given to no other part.
func (k *Keeper) leave(names []string) {
	k.keeping.Lock()
	defer k.keeping.Unlock()
	k.remove(names...)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range k.left {
		var index uint64
		var began int
		if _, err := fmt.Sscanf(name, partName, &index, &began); err == nil {
			k.began = max(k.began, began)
		}
	}
}

// remove removes what is no use any more: with a later copy, if it cannot be now. keeping is held.
func (k *Keeper) remove(names ...string) {
	for _, n := range names {
		if !slices.Contains(k.left, n) {
			k.left = append(k.left, n)
		}
	}
	k.sweep()
}

// sweep removes what was left, as far as it can be. keeping is held.
func (k *Keeper) sweep() {
	k.left = slices.DeleteFunc(k.left, func(name string) bool {
		err := k.maker.fs.RemoveAll(filepath.Join(k.dir, name))
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return true
		}
		k.logger.Warn("an old copy of the state, or half of one, is not removed; it is tried again with the next copy",
			"dir", filepath.Join(k.dir, name), "err", err)
		return false
	})
}

// Kept returns the applied index of the copy that is there, zero if there is none.
func (k *Keeper) Kept() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept
}

func (k *Keeper) setKept(index uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = index
}

// Begin takes hold of the storage's content, as [Maker.Begin] does, for [Keeper.Keep].
func (k *Keeper) Begin(meta *contract.Metadata) (*Part, error) {
	return k.maker.Begin(filepath.Join(k.dir, k.partName(meta.AppliedIndex)), meta)
}

// Keep writes p out, has it take the place of the copy before (C4), and returns the applied index of the copy that is
// there then. A part that is no newer than that, or whose state is being replaced, is dropped; the latter with
// ErrReplaced. That something old cannot be removed is no error: it is left to the next Keep.
func (k *Keeper) Keep(p *Part) (kept uint64, err error) {
	k.keeping.Lock()
	defer k.keeping.Unlock()
	fs := k.maker.fs
	k.sweep()
	named := false
	defer func() {
		if !named {
			k.remove(filepath.Base(p.dir))
		}
	}()
	index := p.meta.AppliedIndex
	kept = k.Kept()
	if index <= kept {
		return kept, p.Close()
	}
	if err := p.Write(); err != nil {
		return kept, err
	}
	if err := k.vacate(index); err != nil {
		return kept, err
	}
	if err := fs.Rename(p.dir, k.path(index)); err != nil {
		return kept, err
	}
	named = true
	if err := fs.SyncDir(k.dir); err != nil {
		return kept, err
	}
	k.setKept(index)
	k.removeBefore(index)
	return index, nil
}

// vacate takes the name of a copy from one to which an attempt before gave it without being able to sync that: nobody
// counts on it, and it may be of another state. It is removed once no power cut gives it back the name, by which half
// of it would pass for a copy. keeping is held.
func (k *Keeper) vacate(index uint64) error {
	aside := k.partName(index)
	err := k.maker.fs.Rename(k.path(index), filepath.Join(k.dir, aside))
	if err == nil {
		k.aside = append(k.aside, aside)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(k.aside) == 0 {
		return nil
	}
	if err := k.maker.fs.SyncDir(k.dir); err != nil {
		return err
	}
	k.remove(k.aside...)
	k.aside = nil
	return nil
}

// removeBefore removes the copies before the one of index, which is durable. keeping is held.
func (k *Keeper) removeBefore(index uint64) {
	names, err := k.maker.fs.List(k.dir)
	if err != nil {
		k.logger.Warn("old copies of the state are not removed; it is tried again with the next copy", "dir", k.dir,
			"err", err)
		return
	}
	k.remove(slices.DeleteFunc(names, func(n string) bool {
		i, err := strconv.ParseUint(n, 10, 64)
		return err != nil || i >= index
	})...)
}

// partName returns a name in dir that no other part has.
func (k *Keeper) partName(index uint64) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.began++
	return fmt.Sprintf(partName, index, k.began)
}

func (k *Keeper) path(index uint64) string {
	return filepath.Join(k.dir, strconv.FormatUint(index, 10))
}
