package reads

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
)

// Within returns once what a read of this node's storage misses was acknowledged, anywhere in the fleet, no longer ago
// than age: at once if a linearizable barrier of this node began no longer ago, else after one. Errors: those of
// Barrier.
func (r *Reads) Within(ctx context.Context, age time.Duration) error {
	if err := r.config.Life.Err(); err != nil {
		return err
	}
	if err := r.late(); err != nil {
		return err
	}
	if at := r.barrier.confirmed(); !at.IsZero() && clock.Ago(at, r.config.Clock.Now()) <= age {
		return nil
	}
	if err := r.Barrier(ctx, contract.Linearizable); err != nil {
		return fmt.Errorf("read what is at most %v old: %w", age, err)
	}
	return nil
}
