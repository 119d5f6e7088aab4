package e2e

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// late is a client that has seen what a failover loses, and comes to the new primary before that takes over.
type late struct {
	client  *clientv3.Client
	seen    int64 // a revision in the tail
	watches map[string]clientv3.WatchChan
}

func (r *run) startLate(ctx context.Context, next *localfleet.Region, seen int64) (*late, error) {
	client, err := connect(localfleet.Clients(next.Nodes)...)
	if err != nil {
		return nil, err
	}
	return &late{client, seen, map[string]clientv3.WatchChan{
		"of what it has seen last": client.Watch(ctx, everything, clientv3.WithFromKey(), clientv3.WithRev(seen)),
		"of what comes after":      client.Watch(ctx, everything, clientv3.WithFromKey(), clientv3.WithRev(seen+1)),
	}}, nil
}

func (l *late) close() { l.client.Close() }

// check wants the client to be told by watches and reads alike that what it knows is gone.
func (l *late) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for what, w := range l.watches {
		select {
		case answer := <-w:
			if !errors.Is(answer.Err(), rpctypes.ErrCompacted) {
				return fmt.Errorf("a watch %s, at %d, goes on after it was lost: %v, %d events",
					what, l.seen, answer.Err(), len(answer.Events))
			}
		case <-ctx.Done():
			return fmt.Errorf("a watch %s, at %d, hears nothing of that it was lost", what, l.seen)
		}
	}
	for _, options := range [][]clientv3.OpOption{nil, {clientv3.WithSerializable()}} {
		_, err := l.client.Get(ctx, everything, append(options, clientv3.WithRev(l.seen))...)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return fmt.Errorf("a read at revision %d, which was lost: %w", l.seen, err)
		}
	}
	return nil
}
