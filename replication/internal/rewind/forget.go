package rewind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
)

// errForgotten is why something was not made, or is not used.
var errForgotten = fmt.Errorf("%w: what this node held is another state than its region's, or is being replaced",
	contract.ErrNotReady)

// Forget removes everything that was made of the state here, durably, and nothing comes of what is being made: the
// state of another node is about to take its place (W6). It may be called where nothing can be applied or held.
func (r *Rewinds) Forget() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.forgot++
	marks := r.marks
	r.marks = nil
	r.pin(0)
	if r.giveUp != nil {
		r.giveUp(errForgotten)
	}
	r.mu.Unlock()
	r.preparing <- struct{}{}
	defer func() { <-r.preparing }()
	for _, m := range marks {
		if err := r.erase(r.dirOf(m)); err != nil {
			return fmt.Errorf("remove the checkpoint at position %d: %w", m.position, err)
		}
	}
	names, err := r.config.FS.List(r.statesDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("find rewound states: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, partSuffix) {
			continue // it is taken for none
		}
		if err := r.erase(filepath.Join(r.statesDir(), name)); err != nil {
			return fmt.Errorf("remove a rewound state: %w", err)
		}
	}
	return nil
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
