package replication

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// history is this node's applied log as a source of the stream.
type history struct {
	applied *region.Applied
	life    *life.Life
}

func (n *node) history() history { return history{n.applied, n.life} }

func (h history) Changed() <-chan struct{} { return h.applied.Changed() }

func (h history) View() stream.View {
	v := h.applied.View()
	view := stream.View{Cursor: v.State.Cursor, Index: v.Index, Reigns: v.State.Reigns, Bytes: v.Bytes}
	switch {
	case v.State.Role() == timeline.Diverged:
		view.Serving = ErrDiverged
	case v.State.Role() == timeline.Secondary && timeline.Latest(v.State.Reigns).Primary == v.State.Region:
		view.Serving = fmt.Errorf("%w: deposed by epoch %d of %s", ErrDiverged, v.State.Yielded.Epoch,
			v.State.Yielded.Primary)
	case h.life.Err() != nil:
		view.Serving = h.life.Err()
	}
	return view
}

// sourceCommitted returns a position that nothing acknowledged by the region before exceeds, so that lag is never
// reported too small.
func (n *node) sourceCommitted(ctx context.Context) (Position, error) {
	c, err := n.reads.Confirmed(ctx)
	return c.Position, err
}
