package etcdapi

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// What clients are told of a content that follows an etcd. None of it is Unavailable: to try again is of no use until
// somebody says so.
var (
	errFollows = status.Error(codes.FailedPrecondition, "mimir: this fleet follows an etcd (mimir import follow) and "+
		"takes no writes of clients before mimir import finish")
	errFollowsNot = status.Error(codes.FailedPrecondition, "mimir: this fleet does not follow an etcd: it was not "+
		"made by mimir import --follow, or mimir import finish has opened it")
	errParted = status.Error(codes.Aborted, "mimir: this is not what comes next here: the fleet is at another "+
		"revision, or has another version of a key")
)

// followServer is the service by which a content follows an etcd.
type followServer struct{ *API }

// Follow implements follow.Handler. Each batch is a write of its own; what the store refuses ends the stream.
func (s *followServer) Follow(c *follow.Caller) error {
	ctx, began := c.Context(), s.clock.Now()
	state, err := s.followState(ctx)
	if err == nil {
		err = c.Tell(state)
	}
	for err == nil {
		most := follow.MaxBatchBytes
		follows := kv.Follows(s.store)
		if !follows { // and never does again: what cannot be applied is not read
			most = 0
		}
		var batch [][]byte
		if batch, err = c.Batch(most); errors.Is(err, io.EOF) {
			return nil
		}
		if !follows && status.Code(err) == codes.InvalidArgument {
			err = errFollowsNot
		}
		if err == nil {
			err = s.followed(ctx, began, batch)
		}
		if err == nil {
			now := s.store.Auth()
			err = c.Tell(&follow.State{
				Follows: kv.Follows(s.store), Revision: s.store.Revision(), AuthEnabled: now.Enabled(),
				AuthRevision: now.Revision(),
			})
		}
	}
	return s.statusOf(ctx, err)
}

// followState returns what there is after all that was acknowledged.
func (s *followServer) followState(ctx context.Context) (*follow.State, error) {
	if err := s.mayOperate(ctx); err != nil {
		return nil, err
	}
	if err := s.barrier(ctx); err != nil {
		return nil, err
	}
	users := s.store.Auth()
	state := &follow.State{
		Follows: kv.Follows(s.store), AuthEnabled: users.Enabled(), AuthRevision: users.Revision(),
		Leases: map[int64]int64{},
	}
	for _, l := range s.store.Leases() {
		state.Leases[l.ID] = l.TTL
	}
	state.Revision = s.store.Revision()
	return state, nil
}

// followed applies a batch, in the name of the server: whoever calls is an operator, and what he brings was permitted
// by the etcd.
func (s *followServer) followed(ctx context.Context, began time.Time, batch [][]byte) error {
	if !s.isOperator(ctx) { // his right may have been taken away meanwhile
		if _, err := s.permittedSince(ctx, began, isRoot); err != nil {
			return err
		}
	}
	var list []*replication.Command
	for _, c := range batch {
		var q command.Request
		err := q.Decode(c)
		if err == nil && !q.Followed {
			err = command.ErrMalformed
		}
		if err == nil && q.Txn != nil {
			err = command.CheckTxn(q.Txn, math.MaxInt32)
		}
		if err != nil {
			return status.Error(codes.InvalidArgument, "mimir: "+err.Error())
		}
		list = append(list, &replication.Command{Data: c})
	}
	if len(list) == 0 {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	receipt, err := s.replicator.Propose(bounded, list)
	if err != nil {
		return err
	}
	for i, c := range batch {
		if err := command.CheckFollowed(c, receipt.Results[i]); err != nil {
			return err
		}
	}
	return nil
}
