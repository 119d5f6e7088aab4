package rewind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// errForgotten is why something was not made, or is not used.
var errForgotten = fmt.Errorf("%w: what this node held is another state than its region's, or is being replaced",
	contract.ErrNotReady)

// Forget removes everything that was made of the state here, durably, and nothing comes of what is being made: the
// state of another node is about to take its place (W6). It may be called where nothing can be applied or held. It
// waits for who makes a state to give that up, until ctx ends. Errors: ErrNotReady, after silence.
func (r *Rewinds) Forget(ctx context.Context) error {
	r.giveAllUp()
	if err := r.outlast(ctx); err != nil {
		return err
	}
	defer func() { <-r.preparing }()
	var err error
	if r.remains.leaves(r.config.marksDir()) { // it may not be there any more, and come back with a power cut
		err = r.remains.remove(r.config.marksDir())
	}
	if err = errors.Join(err, r.empty(r.config.marksDir())); err != nil {
		err = fmt.Errorf("remove checkpoints: %w", err)
	}
	if failed := r.empty(r.config.statesDir()); failed != nil {
		err = errors.Join(err, fmt.Errorf("remove rewound states: %w", failed))
	}
	return err
}

// giveAllUp has no mark be there any more, and none come of what was begun before. Those that are on the disk go, also
// if it comes to nothing else.
func (r *Rewinds) giveAllUp() {
	r.placing.Lock()
	defer r.placing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgot++
	for _, m := range r.marks {
		r.remains.add(r.dirOf(m))
	}
	r.marks = nil
	r.leaveUnread(nil)
	r.pin(0)
	if r.giveUp != nil {
		r.giveUp(errForgotten)
	}
}

// silence is for how long is waited for an engine that makes a state and is to give that up. It is one step of it, of
// which nothing can be told.
const silence = 10 * time.Minute

// outlast waits until nobody makes a state, and nobody else does from then on. People are told for what it waits.
func (r *Rewinds) outlast(ctx context.Context) error {
	select {
	case r.preparing <- struct{}{}:
		return nil
	default:
	}
	r.config.Logger.Info("waits until the state at a fork, which is being made here, is given up")
	r.waits.Store(new(r.config.Clock.Now()))
	defer r.waits.Store(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, silence, fmt.Errorf("%w: the engine has not come to its end for %v",
		contract.ErrNotReady, silence))
	defer cancel()
	select {
	case r.preparing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until the state at a fork, which is being made here, is given up: %w",
			context.Cause(ctx))
	}
}

// Awaits says for what Forget waits, for people, "" if for nothing. It waits for nobody.
func (r *Rewinds) Awaits() string {
	since := r.waits.Load()
	if since == nil {
		return ""
	}
	return fmt.Sprintf("waits until the state at a fork, which is being made here, is given up, for %v",
		r.config.Clock.Now().Sub(*since).Truncate(time.Second))
}

// empty durably removes what is whole in dir, of which some may be there that nobody here knows of: it is being
// removed, or cannot be read.
func (r *Rewinds) empty(dir string) error {
	fs := r.config.FS
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, partSuffix) {
			continue // it is taken for none
		}
		err = errors.Join(err, r.remains.remove(filepath.Join(dir, name)))
	}
	return errors.Join(err, fs.SyncDir(dir))
}

// begins returns the marks that a state can be made from, and the context in which it is: it ends when they are
// forgotten.
func (r *Rewinds) begins(ctx context.Context) (_ context.Context, marks []mark, end func()) {
	ctx, giveUp := context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp = giveUp
	return ctx, append(marks, r.marks...), func() {
		r.mu.Lock()
		r.giveUp = nil
		r.mu.Unlock()
		giveUp(nil)
	}
}
