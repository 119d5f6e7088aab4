package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/internal/tail"
)

// TailInfo describes a rescue file of one node.
type TailInfo = tail.Info

// Errors of ReadTail.
var (
	// ErrTailNotFound says that there is no rescue file of this name on this node.
	ErrTailNotFound = rescue.ErrNotFound
	// ErrTailDamaged says that a rescue file cannot be read whole.
	ErrTailDamaged = rescue.ErrDamaged
)

// Tails returns the rescue files on this node, by name.
func (n *node) Tails(context.Context) ([]TailInfo, error) { return n.tails.List() }

// ReadTail calls visit with each command of a rescue file on this node, in order. Errors: ErrTailNotFound,
// ErrTailDamaged, and what visit returns.
func (n *node) ReadTail(ctx context.Context, name string, visit func(epoch Epoch, p Position, c Command) error) error {
	return n.tails.Read(ctx, name, visit)
}
