package tail

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Reigns returns the reigns whose beginnings a rescue file has, in order. Of those that begin just after the fork the
// fleet may have the first ones too: a file has what is behind a position. Errors: as Read.
func (t *Tails) Reigns(name string) (reigns []timeline.Reign, err error) {
	_, _, err = rescue.Scan(t.config.FS, t.config.Dir, name, func(payload []byte) error {
		if h, _ := timeline.ReadHeader(payload); h.Kind != timeline.KindReign {
			return nil
		}
		r, err := timeline.DecodeReign(payload)
		if err != nil {
			return fmt.Errorf("%w: %w", rescue.ErrDamaged, err)
		}
		reigns = append(reigns, r)
		return nil
	})
	return reigns, err
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
