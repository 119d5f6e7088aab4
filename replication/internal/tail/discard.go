package tail

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Reigns returns the reigns whose beginnings a rescue file has, in order; of a tail that has a whole state all that
// lead to its end. Of those that begin just after the fork the fleet may have the first ones too: a file has what is
// behind a position. Errors: as Read; rescue.ErrForeign if it does not go on from what the history has that today's
// reigns describe.
func (t *Tails) Reigns(name string, today []timeline.Reign) (reigns []timeline.Reign, err error) {
	var first *timeline.Header
	_, h, err := rescue.Scan(t.config.FS, t.config.Dir, name, func(payload []byte) error {
		h, _ := timeline.ReadHeader(payload)
		if first == nil {
			first = &h
		}
		if h.Kind != timeline.KindReign {
			return nil
		}
		r, err := timeline.DecodeReign(payload)
		if err != nil {
			return fmt.Errorf("%w: %w", rescue.ErrDamaged, err)
		}
		reigns = append(reigns, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h.Begins() > h.Fork {
		if reigns, err = t.stateReigns(name); err != nil {
			return nil, err
		}
	}
	return reigns, t.belongs(name, h, first, today)
}

// stateReigns returns the reigns of the whole state beside a tail.
func (t *Tails) stateReigns(name string) ([]timeline.Reign, error) {
	meta, err := copies.ReadMetadata(t.config.FS, t.stateDir(name))
	if err != nil {
		return nil, fmt.Errorf("state of tail %s: %w", name, err)
	}
	at := timeline.Cursor{Epoch: meta.Epoch, Position: meta.Position, Chain: meta.Chain}
	state, err := timeline.DecodeRecord(meta.Record, at)
	if err != nil {
		return nil, fmt.Errorf("state of tail %s: %w", name, err)
	}
	return state.Reigns, nil
}

// belongs holds a tail against the history of today: it is of this fleet, and its first entry continues what a reign
// that begins just after the fork continues.
func (t *Tails) belongs(name string, h rescue.Header, first *timeline.Header, today []timeline.Reign) error {
	if h.Fleet != t.config.Fleet {
		return fmt.Errorf("%w: %s is of fleet %s, and this is fleet %s", rescue.ErrForeign, name, h.Fleet,
			t.config.Fleet)
	}
	i := slices.IndexFunc(today, func(r timeline.Reign) bool { return r.First == h.Fork+1 })
	if first == nil || first.First != h.Fork+1 || i < 0 || first.Previous == today[i].Previous {
		return nil
	}
	return fmt.Errorf("%w: %s follows chain %v at position %d, and this history has %v there", rescue.ErrForeign, name,
		first.Previous, h.Fork, today[i].Previous)
}

// Discard deletes what this node saved of a tail, damaged or not. After an error, or a power cut, some of it may be
// there still, and is listed. Errors: rescue.ErrNotFound.
func (t *Tails) Discard(name string) error {
	list, err := t.List()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(i Info) bool { return i.Name == name }) {
		return fmt.Errorf("%w: %s", rescue.ErrNotFound, name)
	}
	c := &t.config
	// The state first: a rescue file that lacks its state is listed as damaged, a state alone passes for a whole tail.
	for _, dir := range []string{t.stateDir(name), t.stateDir(name) + partSuffix} {
		if err := c.FS.RemoveAll(dir); err != nil {
			return fmt.Errorf("discard tail %s: %w", name, err)
		}
	}
	if err := rescue.Remove(c.FS, c.Dir, name); err != nil {
		return fmt.Errorf("discard tail %s: %w", name, err)
	}
	c.Logger.Warn("discarded a tail", "tail", name, "dir", c.Dir)
	return c.FS.SyncDir(c.Dir)
}
