package region

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Held is this region's state as of one entry, on its way into a copy. Whoever holds it calls Write, or else Close;
// either may run while further entries are applied.
type Held struct {
	*copies.Part
	Origin timeline.Origin   // where in the history the state is
	Conf   *raftpb.ConfState // the members as of it
}

// Hold takes hold of the state as it is now, for a copy in the new directory dir. It is quick: nothing is applied
// meanwhile, and what takes long is left to Write. While what is to be applied next waits for room on the disk it
// is not had: then the error is durable.Full.
func (a *Applier) Hold(dir string) (*Held, error) {
	if err := a.patient.enter(context.Background(), a.mu); err != nil {
		return nil, err
	}
	var held *Held
	err := inTurn(a, func() (err error) {
		held, err = takeHold(a, dir)
		return err
	})
	return held, err
}

func takeHold(a *Applier, dir string) (*Held, error) {
	meta, err := a.saveAll()
	if err != nil {
		return nil, err
	}
	s := a.inStorage().machine.State()
	conf, err := confOf(&s)
	if err != nil {
		return nil, err
	}
	part, err := a.config.Maker.Begin(dir, meta)
	if err != nil {
		return nil, err
	}
	at := timeline.Origin{Cursor: s.Cursor, Reigns: slices.Clone(s.Reigns), Commands: s.Commands}
	return &Held{Part: part, Origin: at, Conf: conf}, nil
}

// Checkpoint implements raftgroup.Machine.
func (a *Applier) Checkpoint(dir string) (*raftgroup.Checkpoint, error) {
	h, err := a.Hold(dir)
	if err != nil {
		return nil, err
	}
	meta := h.Metadata()
	return &raftgroup.Checkpoint{Index: meta.AppliedIndex, Term: meta.AppliedTerm, Conf: h.Conf, Draft: h.Part}, nil
}

// copyTo makes a complete copy of the state in dir while nothing is applied, unless ctx ends. The caller holds mu.
func (a *Applier) copyTo(ctx context.Context, dir string) error {
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	part, err := a.config.Maker.Begin(dir, meta)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, part.Revoke)()
	if err = part.Write(); errors.Is(err, copies.ErrReplaced) && ctx.Err() != nil {
		return ctx.Err() // nothing replaces the state while this one has the turn
	}
	return err
}

// whole is copyTo of a within ctx.
func whole(ctx context.Context, a *Applier) func(dir string) error {
	return func(dir string) error { return a.copyTo(ctx, dir) }
}

// keep makes a volatile storage's state durable, and returns the index of what is.
func (a *Applier) keep() (uint64, error) {
	part, err := a.beginKeeping()
	if err != nil {
		return 0, fmt.Errorf("keep state: %w", err)
	}
	if part == nil {
		return a.config.Keeper.Kept(), nil
	}
	index, err := a.config.Keeper.Keep(part)
	if err != nil && !errors.Is(err, copies.ErrReplaced) { // who brings another state keeps that
		return 0, fmt.Errorf("keep state: %w", err)
	}
	return index, nil
}

// beginKeeping returns nil if what is kept is the state as it is.
func (a *Applier) beginKeeping() (*copies.Part, error) {
	if err := a.patient.enter(context.Background(), a.mu); err != nil {
		return nil, err
	}
	var part *copies.Part
	err := inTurn(a, func() (err error) {
		part, err = takeToKeep(a)
		return err
	})
	return part, err
}

func takeToKeep(a *Applier) (*copies.Part, error) {
	if a.inStorage().index <= a.config.Keeper.Kept() {
		return nil, nil
	}
	meta, err := a.saveAll()
	if err != nil {
		return nil, err
	}
	return a.config.Keeper.Begin(meta)
}
