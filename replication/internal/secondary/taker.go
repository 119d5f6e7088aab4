package secondary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// taker is this region as the stream sees it. It takes entries only while this node leads the term it was made for.
type taker struct {
	config *Config
	term   uint64
	last   atomic.Uint64 // index of the last entry proposed
}

func (t *taker) Cursor() timeline.Cursor  { return t.config.Applied.State().Cursor }
func (t *taker) Reigns() []timeline.Reign { return t.config.Applied.State().Reigns }
func (t *taker) Changed() <-chan struct{} { return t.config.Applied.Changed() }

// errForgotten says that a stream came to a reign that this region began itself and has lost with its disks: how far it
// came nobody knows, so nobody begins it again, and what lies behind it comes by a copy.
var errForgotten = errors.New("secondary: the history has a reign of this region that it has forgotten")

// Take implements stream.Taker. What stands before a forgotten reign is taken.
func (t *taker) Take(ctx context.Context, payloads [][]byte) error {
	known := t.known(payloads)
	if len(known) > 0 {
		first, err := t.config.Group.Propose(ctx, t.term, known)
		if err != nil {
			return fmt.Errorf("propose %d entries of the stream: %w", len(known), err)
		}
		t.last.Store(first + uint64(len(known)) - 1)
	}
	if len(known) < len(payloads) {
		return errForgotten
	}
	return nil
}

// known returns what of the history stands before a reign that the region has forgotten. What is no reign is for others
// to judge.
func (t *taker) known(payloads [][]byte) [][]byte {
	for i, p := range payloads {
		if kind, err := timeline.KindOf(p); err != nil || kind != timeline.KindReign {
			continue
		}
		r, err := timeline.DecodeReign(p)
		if err == nil && r.Primary == t.config.Region && !slices.Contains(t.Reigns(), r) {
			return payloads[:i]
		}
	}
	return payloads
}

// Settle implements stream.Taker. As long as this node leads the term, what it proposed stays in the log.
func (t *taker) Settle(ctx context.Context) error {
	for {
		term, _ := t.config.Leadership.Term()
		if t.config.Applied.View().Index >= t.last.Load() || term != t.term {
			return nil
		}
		if err := t.config.Life.Pause(ctx, settleEvery); err != nil {
			return err
		}
	}
}
