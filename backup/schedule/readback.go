package schedule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/store"
)

// read is what a keeper knows of what lies in its place from reading it.
type read struct {
	whole  map[string]bool // names of those that this node has read, and that are
	broken map[string]bool // names of those that are not
	tried  map[string]bool // names of those that could not be read since the last backup was saved
	// doubted are names of those that a node took which was found to hold something else than its region: also once it
	// was rebuilt.
	doubted map[string]bool
	// put is the name of one that this node saved at began, and could not read back yet; "": there is none.
	put   string
	began time.Time
}

// counting returns those that count of what this region took: the newest only once this node has read it. One that
// cannot be read is waited for, until another one is due: else it would be saved over and over.
func (k *Keeper) counting(ctx context.Context, own []Backup) ([]Backup, error) {
	own = k.unbroken(own)
	newest, found := Newest(own, k.Clock.Now())
	if !found || k.whole[newest.Name] {
		return own, nil
	}
	bytes, err := k.readBack(ctx, newest.Name)
	rest := slices.DeleteFunc(slices.Clone(own), func(b Backup) bool { return b.Name == newest.Name })
	now := k.Clock.Now()
	switch {
	case err == nil:
		k.sound(newest.Name, bytes, now)
		return own, nil
	case ctx.Err() != nil:
		return nil, err
	case isBroken(err):
		k.Logger.Error("a backup is not whole, and does not count: it stays, and nobody is to restore it", "name",
			newest.Name, "err", err)
		k.breaks(newest.Name)
		return rest, nil
	case errors.Is(err, store.ErrNotFound): // another node let it go meanwhile
		return rest, nil
	case !now.Before(k.Due(own, now)):
		k.Logger.Warn("the newest backup cannot be read back, and does not count; another one is due", "name",
			newest.Name, "err", err)
		return rest, nil
	default:
		return nil, fmt.Errorf("the newest backup, %s, does not count until it is read back, which failed: %w",
			newest.Name, err)
	}
}

// prove reads one of those that are to count or to go as something is let go, the newest first, and reports whether it
// did: what is neither read nor known to be unreadable now is none to rely on. One at a time, so that a backup that is
// due meanwhile is taken.
func (k *Keeper) prove(ctx context.Context, ranked []Ranked) (read bool, err error) {
	now := k.Clock.Now()
	for _, b := range slices.Backward(counted(backups(only(ranked, Own, Alone, Unplaced)), now)) {
		if k.whole[b.Name] || k.tried[b.Name] {
			continue
		}
		bytes, err := k.readBack(ctx, b.Name)
		switch {
		case err == nil:
			k.sound(b.Name, bytes, now)
		case ctx.Err() != nil:
			return false, err
		case isBroken(err):
			k.Logger.Error("a backup is not whole, and does not count: it stays, and nobody is to restore it", "name",
				b.Name, "err", err)
			k.breaks(b.Name)
		case errors.Is(err, store.ErrNotFound): // another node let it go meanwhile
			k.tries(b.Name)
		default:
			k.Logger.Warn("a backup cannot be read: it stays, and lets none go", "name", b.Name, "err", err)
			k.tries(b.Name)
		}
		return true, nil
	}
	return false, nil
}

// proven returns those that this node has read, and that are whole.
func (k *Keeper) proven(ranked []Ranked) []Ranked {
	return slices.DeleteFunc(slices.Clone(ranked), func(r Ranked) bool { return !k.whole[r.Name] })
}

// unbroken leaves out what is known to be broken, or of a node that differs.
func (k *Keeper) unbroken(all []Backup) []Backup {
	return slices.DeleteFunc(slices.Clone(all), func(b Backup) bool {
		return k.broken[b.Name] || k.doubted[b.Name] || k.differs(b)
	})
}

// differs reports whether the node that took a backup is known to hold something else than this region now.
func (k *Keeper) differs(b Backup) bool {
	return k.Differs != nil && b.Region == k.Region && k.Differs(b.Node)
}

// doubt notes which backups are of nodes that differ.
func (k *Keeper) doubt(taken []Backup) {
	doubted := map[string]bool{}
	for _, b := range taken {
		if k.differs(b) {
			doubted[b.Name] = true
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(doubted, k.doubted)
	k.doubted = doubted
}

// isBroken reports whether an error of reading a backup is about what lies there, and not about how it was reached.
func isBroken(err error) bool {
	return errors.Is(err, backup.ErrBroken) || errors.Is(err, store.ErrChanged)
}

func (k *Keeper) breaks(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken == nil {
		k.broken = map[string]bool{}
	}
	k.broken[name] = true
}

// tries notes that a backup cannot be read for now.
func (k *Keeper) tries(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tried == nil {
		k.tried = map[string]bool{}
	}
	k.tried[name] = true
}

// reads notes that a backup is whole. The caller holds mu.
func (k *Keeper) reads(name string) {
	if k.whole == nil {
		k.whole = map[string]bool{}
	}
	k.whole[name] = true
}

// unread notes that a backup was saved, and could not be read back.
func (k *Keeper) unread(name string, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put, k.began = name, began
}

// sound notes that a backup of before was read, and is whole. One that this node saved is done with that.
func (k *Keeper) sound(name string, bytes int64, now time.Time) {
	k.mu.Lock()
	k.reads(name)
	mine, began := k.put == name, k.began
	k.mu.Unlock()
	if mine {
		k.done(name, bytes, now.Sub(began))
	}
}

func (k *Keeper) readBack(ctx context.Context, name string) (int64, error) {
	objects, err := k.Store.List(ctx, name)
	if err != nil {
		return 0, err
	}
	if len(objects) != 1 {
		return 0, fmt.Errorf("%w: %s", store.ErrNotFound, name)
	}
	r, err := k.Store.Get(ctx, name)
	if err != nil {
		return 0, err
	}
	from := &coming{Reader: r}
	err = k.Check(from, objects[0].Size)
	if from.err != nil { // of which Check can make a content that breaks off
		err = from.err
	}
	return objects[0].Size, errors.Join(err, r.Close())
}

// coming is a reader that keeps what kept it from being read.
type coming struct {
	io.Reader
	err error
}

func (c *coming) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
