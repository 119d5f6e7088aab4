package copies

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
)

// partSuffix ends the names of directories that are no copies yet.
const partSuffix = ".tmp"

// Keeper keeps copies of a volatile storage beside the log: one directory each, named by applied index. It is safe for
// concurrent use.
type Keeper struct {
	maker *Maker
	dir   string

	keeping sync.Mutex // held while a copy takes the place of another

	mu    sync.Mutex
	began int    // parts begun, so that no two write to one place
	kept  uint64 // applied index of the copy that is there; zero: there is none
}

// NewKeeper returns the keeper of the copies in dir, which is its own.
func NewKeeper(m *Maker, dir string) *Keeper { return &Keeper{maker: m, dir: dir} }

// Newest returns the directory of the newest copy, "" if there is none, and removes what was never finished. The name
// of that copy is durable then (C4): whoever gave it may not have come to sync it. It is called before anything is
// begun.
func (k *Keeper) Newest() (string, error) {
	fs := k.maker.fs
	names, err := fs.List(k.dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var newest uint64
	for _, n := range names {
		if strings.HasSuffix(n, partSuffix) {
			if err := fs.RemoveAll(filepath.Join(k.dir, n)); err != nil {
				return "", err
			}
		} else if i, err := strconv.ParseUint(n, 10, 64); err == nil {
			newest = max(newest, i)
		}
	}
	if newest == 0 {
		return "", nil
	}
	if err := fs.SyncDir(k.dir); err != nil {
		return "", fmt.Errorf("sync %s, where the copy of entry %d is: %w", k.dir, newest, err)
	}
	k.setKept(newest)
	return k.path(newest), nil
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
	k.mu.Lock()
	k.began++
	name := fmt.Sprintf("%d-%d%s", meta.AppliedIndex, k.began, partSuffix)
	k.mu.Unlock()
	return k.maker.Begin(filepath.Join(k.dir, name), meta)
}

// Keep writes p out, has it take the place of the copy before (C4), and returns the applied index of the copy that is
// there then. A part that is no newer than that, or whose state is being replaced, is dropped; the latter with
// ErrReplaced.
func (k *Keeper) Keep(p *Part) (kept uint64, err error) {
	k.keeping.Lock()
	defer k.keeping.Unlock()
	fs := k.maker.fs
	defer func() {
		if gone := fs.RemoveAll(p.dir); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
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
	if err := fs.SyncDir(k.dir); err != nil {
		return kept, err
	}
	k.setKept(index)
	return index, k.removeBefore(index)
}

// vacate takes the name of a copy from one to which an attempt before gave it without being able to sync that: nobody
// counts on it, and it may be of another state. It is removed once no power cut gives it back the name, by which half
// of it would pass for a copy.
func (k *Keeper) vacate(index uint64) error {
	fs, aside := k.maker.fs, k.path(index)+partSuffix
	if err := fs.Rename(k.path(index), aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := fs.Stat(aside); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := fs.SyncDir(k.dir); err != nil {
		return err
	}
	return fs.RemoveAll(aside)
}

func (k *Keeper) removeBefore(index uint64) error {
	fs := k.maker.fs
	names, err := fs.List(k.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if i, err := strconv.ParseUint(n, 10, 64); err == nil && i < index {
			if err := fs.RemoveAll(filepath.Join(k.dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *Keeper) path(index uint64) string {
	return filepath.Join(k.dir, strconv.FormatUint(index, 10))
}
