package etcdapi

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
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
	if err := s.mustOrder(ctx); err != nil {
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
// by the etcd. Who is root is known everywhere: users and roles do not change while the content follows.
func (s *followServer) followed(ctx context.Context, began time.Time, batch [][]byte) error {
	if !s.isOperator(ctx) { // he may have shown what ends
		if _, err := s.permittedSince(ctx, began, isRoot); err != nil {
			return err
		}
	}
	var list []*replication.Command
	opens := false
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
		list, opens = append(list, &replication.Command{Data: c}), opens || q.Alarm != nil
	}
	if len(list) == 0 {
		return nil
	}
	if opens {
		if err := s.crossed(ctx); err != nil {
			return err
		}
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

// openTime bounds how long an opening waits for other regions: it is less than its caller waits for the answer.
const openTime = 30 * time.Second

// crossed returns nil once all that was brought so far is in the regions in which it has to be, whatever key it is of.
// What follows waits for none, since the etcd has it; with the opening it becomes what this fleet has acknowledged.
// What is proposed for that changes nothing: a fleet that is not opened follows as before.
func (s *followServer) crossed(ctx context.Context) error {
	who := &asker{touches: []span{{from: []byte{0}, to: []byte{0}}}}
	d, err := demanded(ctx, s.API, who)
	if err != nil || d.local() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	bounded, done := d.whileHeard(ctx, s.API)
	defer done()
	look := command.EncodeAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	end, err := d.begin(s.API, who, len(look))
	if err != nil {
		return err
	}
	_, err = d.propose(bounded, s.API, look)
	if errors.Is(err, replication.ErrUnderReplicated) {
		who.outcome = DurableLate
		err = status.Errorf(codes.FailedPrecondition, "mimir: the fleet follows as before: what it has of the etcd is "+
			"not known in time to be durable as asked for (%s): %s", d.said,
			strings.TrimPrefix(err.Error(), replication.ErrUnderReplicated.Error()+": "))
	}
	if err = d.told(err, who, nil); err != nil && status.Code(err) == codes.Unknown { // it says nothing of an opening
		err = status.Errorf(codes.FailedPrecondition, "mimir: the fleet follows as before: it is not known whether "+
			"what it has of the etcd is durable as asked for (%s): %v", d.said, err)
	}
	end(err)
	return err
}
