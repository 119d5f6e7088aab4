package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// reclaimed is how far deletions and compactions were when their room was given back.
type reclaimed struct{ revision, compact int64 }

// Reclaim gives back the room of what was deleted and compacted, as far as there is room to do it in: without it that
// comes with further writes, of which there may be none. It may take long, and does nothing if nothing has changed
// since it last did it all. It is called by one goroutine at a time. An error that is durable.Full has changed nothing.
func Reclaim(ctx context.Context, s *Store) error {
	err := s.current.do(func(g *generation) error { return reclaim(ctx, s, g) })
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

func reclaim(ctx context.Context, s *Store, g *generation) error {
	now := g.now.Load()
	at := reclaimed{now.Revision, now.Compact}
	if g.reclaimed == at || s.compactor.busy() {
		return nil
	}
	if err := g.flush(); err != nil {
		return fmt.Errorf("kv: give back room: %w", asDamage(err))
	}
	lower, upper := mvcc.AllBounds()
	if err := g.db.Compact(ctx, lower, upper, false); err != nil {
		return fmt.Errorf("kv: give back room: %w", asDamage(err))
	}
	g.reclaimed = at
	return nil
}
