package secondary

import (
	"context"
	"fmt"
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
func (t *taker) Take(ctx context.Context, payloads [][]byte) error {
	first, err := t.config.Group.Propose(ctx, t.term, payloads)
	if err != nil {
		return fmt.Errorf("propose %d entries of the stream: %w", len(payloads), err)
	}
	t.last.Store(first + uint64(len(payloads)) - 1)
	return nil
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
