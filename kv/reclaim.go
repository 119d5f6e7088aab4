package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// reclaimed is how far deletions and compactions were when their room was given back.
type reclaimed struct{ revision, compact int64 }

// Reclaim gives back the room of what was deleted and compacted before the call, as far as there is room to do it in:
// without it that comes with further writes, of which there may be none. It may take long, and does nothing if nothing
// has changed since it last did it all; what it could not do is its error. It is called by one goroutine at a time. An
// error that is durable.Full has changed nothing.
func Reclaim(ctx context.Context, s *Store) error {
	of := s.current.Load()
	now := of.now.Load()
	at := reclaimed{now.Revision, now.Compact}
	if of.reclaimed == at {
		return nil
	}
	err := s.compactor.finish(ctx) // nobody who holds a generation may wait for it
	if err == nil {
		err = s.current.do(func(g *generation) error {
			if g != of { // what was to be given back went with the former content
				return nil
			}
			return g.reclaim(ctx, at)
		})
	}
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// reclaim gives back room, of what was deleted and compacted at least until at.
func (g *generation) reclaim(ctx context.Context, at reclaimed) error {
	if err := g.giveBack(ctx); err != nil {
		return err
	}
	g.reclaimed = at
	return nil
}

// Defragment gives back the room of all that was deleted and compacted before the call, whatever that costs: it writes
// the whole store anew, beside everything else, and returns when that is done. It may be called by anybody, best by one
// at a time. An error that is durable.Full has changed nothing; after another one old versions may be left.
func Defragment(ctx context.Context, s *Store) error {
	if err := s.compactor.finish(ctx); err != nil {
		return err
	}
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return g.giveBack(ctx)
}

// RemoveOld removes what was deleted and compacted before the call, and returns when that is done. Its room is given
// back in time.
func RemoveOld(ctx context.Context, s *Store) error { return s.compactor.finish(ctx) }

// giveBack writes a database anew without what it needs no more.
func (g *generation) giveBack(ctx context.Context) error {
	if err := g.flush(); err != nil {
		return fmt.Errorf("kv: give back room: %w", asDamage(err))
	}
	lower, upper := mvcc.AllBounds()
	if err := g.db.Compact(ctx, lower, upper, false); err != nil {
		return fmt.Errorf("kv: give back room: %w", asDamage(err))
	}
	return nil
}
