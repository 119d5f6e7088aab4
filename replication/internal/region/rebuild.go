package region

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Rebuild makes the state of another node of this region take the place of the one here, which is kept as a copy in the
// new directory aside. Nothing is applied before that is done, since a copy that is further than what is applied here
// has to come; Raft's entries wait. On an error nothing was replaced, and nothing is kept, unless it says so.
func (a *Applier) Rebuild(ctx context.Context, aside string) error {
	if err := durable.MakeDir(a.config.Maker.FS(), filepath.Dir(aside)); err != nil {
		return err
	}
	if err := a.patient.enter(a.mu); err != nil {
		return fmt.Errorf("what comes next waits for room: %w", err)
	}
	defer a.mu.Unlock()
	before := a.machine.Cursor()
	if err := a.copyTo(aside); err != nil {
		return fmt.Errorf("keep what is here: %w", err)
	}
	if err := replaceBySibling(ctx, a); err != nil {
		if gone := a.config.Maker.FS().RemoveAll(aside); gone != nil {
			err = errors.Join(err, fmt.Errorf("%s is left over: %w", aside, gone))
		}
		return err
	}
	a.config.Logger.Warn("took the state of another node of the region", "position before", before.Position,
		"position", a.machine.Cursor().Position, "kept", aside)
	return nil
}

func replaceBySibling(ctx context.Context, a *Applier) error {
	id, err := a.config.Staging.FetchSibling(ctx, a.index)
	if err != nil {
		return fmt.Errorf("take the state of another node: %w", err)
	}
	dir, err := a.config.Staging.Dir(id)
	if err != nil {
		return err
	}
	defer a.config.Staging.Discard(id)
	meta, err := a.config.Maker.Metadata(dir)
	if err == nil {
		err = a.saveBeforeState(meta)
	}
	if err == nil {
		err = a.adopt(dir, meta)
	}
	if err != nil {
		return fmt.Errorf("take the state of another node: %w", err)
	}
	return nil
}
