package etcdapi

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// StalenessKey is the key of request metadata that bounds the age of a serializable read, with a duration such as
// "500ms": what it misses was acknowledged no longer ago, or it is refused. Limits.Staleness bounds it too.
const StalenessKey = "mimir-max-staleness"

// freshForStale returns once a serializable read of this node's store is as fresh as this node and the request ask.
func (a *API) freshForStale(ctx context.Context) error {
	age, bound := a.limits.now().Staleness, a.limits.now().Staleness > 0
	for _, text := range metadata.ValueFromIncomingContext(ctx, StalenessKey) {
		asked, err := time.ParseDuration(text)
		if err != nil || asked < 0 {
			return status.Errorf(codes.InvalidArgument, "mimir: metadata %s: %q is no duration such as 500ms",
				StalenessKey, text)
		}
		if !bound || asked < age {
			age, bound = asked, true
		}
	}
	if !bound {
		return a.fresh(ctx, replication.Serializable)
	}
	bounded, cancel := context.WithTimeout(ctx, a.limits.now().RequestTimeout)
	defer cancel()
	if err := a.replicator.ReadWithin(bounded, age); err != nil {
		return a.statusOf(ctx, err)
	}
	return nil
}
