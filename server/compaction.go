package server

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/autocompact"
)

// compactHistory has the history compacted by the rule of the configuration, until ctx ends.
func (s *server) compactHistory(ctx context.Context) {
	autocompact.Run(ctx, autocompact.Config{
		Policy: func() autocompact.Policy { return *s.settled.policy.Load() }, Changed: s.settled.replaced,
		Revision: s.store.Revision, Compact: s.compact,
		Ago:   func(n int64) int64 { return kv.RevisionAgo(s.store, n) },
		Clock: clock.Real, Logger: s.logger,
	})
}

// compact compacts the history of the fleet if this node takes its writes, and the fleet takes any.
func (s *server) compact(ctx context.Context, revision int64) error {
	tenure := s.replicator.Tenure()
	if tenure == (replication.Tenure{}) || kv.Corrupt(s.store) {
		return autocompact.ErrElsewhere
	}
	c := command.EncodeCompaction(&pb.CompactionRequest{Revision: revision})
	if s.store.Auth().Enabled() { // else nodes of before are to understand it
		c = command.EncodeOwn(c)
	}
	result, err := s.propose(ctx, tenure, c)
	if err == nil {
		_, err = command.DecodeCompactionResult(result)
	}
	switch {
	case errors.Is(err, replication.ErrNotLeader):
		return autocompact.ErrElsewhere
	case errors.Is(err, command.ErrCompacted):
		return autocompact.ErrCompacted
	default:
		return err
	}
}
