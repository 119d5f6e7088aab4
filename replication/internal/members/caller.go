package members

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// Caller returns the Raft identity of whoever opened the stream of a context; false if that is not known.
func Caller(ctx context.Context) (id uint64, known bool) {
	region, node, known := peer.CallerOf(ctx)
	return RaftID(region, node), known
}

// bySelf refuses what another than the node itself says of it.
func bySelf(ctx context.Context, id uint64, name string) error {
	if caller, known := Caller(ctx); known && caller != id {
		region, node, _ := peer.CallerOf(ctx)
		return fmt.Errorf("%w: node %s of region %s speaks as %s", contract.ErrRejected, node, region, name)
	}
	return nil
}
