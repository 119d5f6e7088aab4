package region

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// ErrTorn says that another state was about to take the place of the one here, and that it is not known which of the
// two the storage has. Nothing is applied or copied any more: the node has to end. When it starts again it goes on from
// what the storage has then, which is one of them.
var ErrTorn = errors.New("replication: it is unknown which state the storage has")

// Rebuild makes the state of another node of this region take the place of the one here, which is kept as a copy in the
// new directory aside. Nothing is applied before that is done, since a copy that is further than what is applied here
// has to come; Raft's entries wait. On an error nothing was replaced, and nothing is kept, unless it says so, or is
// ErrTorn. ErrArgument: the region shows its history late, and what its nodes hold is never further than what is
// applied here. ErrNotReady: another state is on its way here already, or put in its place. may says, once nothing is
// applied any more, why it must not be; nil if it may.
func (a *Applier) Rebuild(ctx context.Context, aside string, may func() error) error {
	if s := a.applied.State(); s.Delay != nil {
		return fmt.Errorf("%w: region %s shows its history late, and its nodes have no state of another that is as "+
			"far as their logs: replace the node instead", contract.ErrArgument, a.config.Region)
	}
	if err := durable.MakeDir(a.config.Maker.FS(), filepath.Dir(aside)); err != nil {
		return err
	}
	if err := a.patient.enterWithin(ctx, a.mu); err != nil {
		return err
	}
	return inTurn(a, func() error { return rebuild(ctx, a, aside, may) })
}

func rebuild(ctx context.Context, a *Applier, aside string, may func() error) error {
	if err := may(); err != nil {
		return err
	}
	before := a.machine.Cursor()
	err := a.copyTo(ctx, aside)
	if err != nil {
		err = fmt.Errorf("keep what is here: %w", err)
	} else {
		err = replaceBySibling(ctx, a)
	}
	if errors.Is(err, ErrTorn) {
		return fail(a, fmt.Errorf("%w; what was here before is in %s", err, aside))
	}
	if err != nil {
		if gone := a.config.Maker.FS().RemoveAll(aside); gone != nil {
			err = errors.Join(err, fmt.Errorf("%s is left over: %w", aside, gone))
		}
		return err
	}
	a.config.Logger.Warn("took the state of another node of the region", "position before", before.Position,
		"position", a.machine.Cursor().Position, "kept", aside)
	return nil
}

// replaceBySibling takes the state of another node, and that of a further one where what came is damaged.
func replaceBySibling(ctx context.Context, a *Applier) error {
	for {
		spoiled, err := takeSibling(ctx, a)
		if !spoiled {
			return err
		}
		a.config.Logger.Warn("the state of another node is damaged; takes that of a further one", "err", err)
	}
}

// takeSibling takes the state of another node, and reports whether the copy of that turned out to be damaged.
func takeSibling(ctx context.Context, a *Applier) (spoiled bool, err error) {
	newer := a.config.Keeper.Kept() + 1 // else what is kept of this state would stay, and be what a start finds
	id, err := a.config.Staging.FetchSibling(ctx, max(a.index, newer))
	if err != nil {
		return false, fmt.Errorf("take the state of another node: %w", err)
	}
	dir, err := a.config.Staging.Dir(id)
	if err != nil {
		return false, err
	}
	defer func() {
		if spoiled {
			a.config.Staging.Spoiled(id)
		} else {
			a.config.Staging.Discard(id)
		}
	}()
	meta, err := a.config.Maker.Metadata(dir)
	if err == nil {
		err = a.saveBeforeState(ctx, meta)
	}
	if err == nil {
		err = a.config.Forget(ctx)
	}
	if err == nil {
		err = a.adopt(dir, meta)
		spoiled = spoils(err)
	}
	if err != nil {
		return spoiled, fmt.Errorf("take the state of another node: %w", err)
	}
	return false, nil
}

// spoils reports whether a state could not be put in the place of the one here because the copy of it is damaged.
func spoils(err error) bool { return errors.Is(err, contract.ErrDamaged) && !errors.Is(err, ErrTorn) }
