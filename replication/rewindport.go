package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/rewind"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Rewind implements secondary.Copies.
func (c copyPort) Rewind(
	ctx context.Context, addr string, index uint64, reigns []timeline.Reign,
) (succession.Copy, error) {
	q := rewind.Request{Index: index, Reigns: reigns}
	made, err := rewind.Made{}, error(nil)
	if addr == "" {
		made, err = c.node.rewinds.Prepare(ctx, q)
	} else {
		made, err = peer.Ask(ctx, c.client, addr, rewind.Ask, q)
	}
	return succession.Copy{ID: made.ID, Origin: made.Origin}, err
}

// stagingPort gives the region the copies on this node, wherever they came from.
type stagingPort struct {
	*transfer.Staging
	node *node
}

// Dir implements region.Staging.
func (s stagingPort) Dir(id string) (string, error) {
	if dir, ok := s.node.rewinds.State(id); ok {
		return dir, nil
	}
	return s.Staging.Dir(id)
}

// Discard implements region.Staging.
func (s stagingPort) Discard(id string) {
	if _, ok := s.node.rewinds.State(id); ok {
		s.node.rewinds.Discard(id)
		return
	}
	s.Staging.Discard(id)
}

// Remake implements region.Staging.
func (s stagingPort) Remake(st *timeline.State, index uint64, id string, o *timeline.Origin) {
	s.node.rewinds.Remake(s.node.life.Context(), st, index, id, o)
}
