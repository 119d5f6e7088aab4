package etcdapi

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/watch"
)

// electionServer is the Election service.
type electionServer struct {
	v3electionpb.UnimplementedElectionServer
	kv *kvServer
}

// What etcd says of an election, which has no codes for it.
var (
	errNoLeaderKey     = status.Error(codes.Unknown, `"leader" field must be provided`)
	errNotElected      = status.Error(codes.Unknown, "election: not leader")
	errNobodyIsElected = status.Error(codes.Unknown, "election: no leader")
)

// Campaign returns once the key of the lease is the oldest of the election, with the value that it was given last. Of a
// key that is lost while it waits it says so: nobody is leader by it.
func (s *electionServer) Campaign(
	ctx context.Context, r *v3electionpb.CampaignRequest,
) (*v3electionpb.CampaignResponse, error) {
	done, err := hold(ctx, s.kv.API, r)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = toWait(ctx)
	p, first, response, err := s.kv.enter(ctx, r.Name, r.Lease, r.Value)
	if err != nil {
		return nil, asClient(err)
	}
	header := response.Header
	leader := &v3electionpb.LeaderKey{Name: r.Name, Key: p.key, Rev: p.created, Lease: p.lease}
	if !response.Succeeded && string(response.Responses[0].GetResponseRange().Kvs[0].Value) != string(r.Value) {
		_, err = s.proclaim(ctx, p.key, p.created, p.lease, r.Value)
	}
	response = nil // it may be large, and nobody needs it any more
	if err == nil && !first {
		_, err = p.turn(ctx)
	}
	switch {
	case errors.Is(err, errPlaceLost):
		return nil, errNotElected
	case err != nil:
		p.leave(ctx)
		return nil, asClient(err)
	}
	return &v3electionpb.CampaignResponse{Header: header, Leader: leader}, nil
}

// Proclaim gives the leader's key another value. It is for the leader, and for who waits.
func (s *electionServer) Proclaim(
	ctx context.Context, r *v3electionpb.ProclaimRequest,
) (*v3electionpb.ProclaimResponse, error) {
	if r.Leader == nil {
		return nil, errNoLeaderKey
	}
	lease, err := s.kv.session(ctx, r.Leader.Lease)
	if err != nil {
		return nil, asClient(err)
	}
	header, err := s.proclaim(ctx, r.Leader.Key, r.Leader.Rev, lease, r.Value)
	if err != nil {
		return nil, asClient(err)
	}
	return &v3electionpb.ProclaimResponse{Header: header}, nil
}

func (s *electionServer) proclaim(
	ctx context.Context, key []byte, created, lease int64, value []byte,
) (*pb.ResponseHeader, error) {
	response, err := s.kv.Txn(ctx, &pb.TxnRequest{
		Compare: createdAt(key, created),
		Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: key, Value: value, Lease: lease})},
	})
	switch {
	case err != nil:
		return nil, err
	case !response.Succeeded:
		return nil, errNotElected
	}
	return response.Header, nil
}

// Resign deletes the leader's key, if it is still that one.
func (s *electionServer) Resign(
	ctx context.Context, r *v3electionpb.ResignRequest,
) (*v3electionpb.ResignResponse, error) {
	if r.Leader == nil {
		return nil, errNoLeaderKey
	}
	response, err := s.kv.Txn(ctx, deletion(r.Leader.Key, r.Leader.Rev))
	if err != nil {
		return nil, asClient(err)
	}
	return &v3electionpb.ResignResponse{Header: response.Header}, nil
}

// Leader returns the key of who is elected.
func (s *electionServer) Leader(
	ctx context.Context, r *v3electionpb.LeaderRequest,
) (*v3electionpb.LeaderResponse, error) {
	response, err := s.kv.Range(ctx, firstOf(queueOf(r.Name)))
	switch {
	case err != nil:
		return nil, asClient(err)
	case len(response.Kvs) == 0:
		return nil, errNobodyIsElected
	}
	return &v3electionpb.LeaderResponse{Header: response.Header, Kv: response.Kvs[0]}, nil
}

// Observe sends who is elected, and whenever that changes or proclaims something. Users that are changed meanwhile have
// it read anew.
func (s *electionServer) Observe(
	r *v3electionpb.LeaderRequest, stream grpc.ServerStreamingServer[v3electionpb.LeaderResponse],
) error {
	done, err := hold(stream.Context(), s.kv.API, r)
	if err != nil {
		return err
	}
	defer done()
	o := &observer{kvServer: s.kv, queue: queueOf(r.Name), stream: stream}
	ctx := toWait(stream.Context())
	for {
		err := o.reign(ctx)
		if err == nil || isCompacted(err) {
			continue
		}
		err = s.kv.statusOf(ctx, err)
		if !errors.Is(err, rpctypes.ErrGRPCAuthOldRevision) || !s.kv.pauses(ctx) {
			return asClient(err)
		}
	}
}

// observer is who looks on at an election. What the node's history does not tell it, it reads anew.
type observer struct {
	*kvServer
	queue  []byte
	stream grpc.ServerStreamingServer[v3electionpb.LeaderResponse]
}

// reign sends what the leader of now, or else the next one, proclaims, until it is none any more.
func (o *observer) reign(ctx context.Context) error {
	now, err := o.Range(ctx, firstOf(o.queue))
	if err != nil {
		return err
	}
	waitingOf(ctx).admit()
	if len(now.Kvs) > 0 {
		return o.tell(ctx, now.Header, now.Kvs[0])
	}
	first := watch.Request{
		Key: o.queue, RangeEnd: endOf(o.queue), StartRevision: now.Header.Revision + 1, NoDelete: true,
	}
	return o.follow(ctx, first, func(batch watch.Batch) error {
		kv := batch.Events[0].Kv
		if err := o.tell(ctx, o.header(kv.ModRevision), kv); err != nil {
			return err
		}
		return errDeleted
	})
}

// tell sends a leader, and what it proclaims later than the header says, until its key is deleted.
func (o *observer) tell(ctx context.Context, header *pb.ResponseHeader, kv *mvccpb.KeyValue) error {
	if err := o.send(ctx, header, kv); err != nil {
		return err
	}
	return o.follow(ctx, watch.Request{Key: kv.Key, StartRevision: header.Revision + 1}, func(b watch.Batch) error {
		for _, event := range b.Events {
			if event.Type == mvccpb.Event_DELETE {
				return errDeleted
			}
			if err := o.send(ctx, o.header(b.Revision), event.Kv); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o *observer) send(ctx context.Context, header *pb.ResponseHeader, kv *mvccpb.KeyValue) error {
	if err := o.room(ctx); err != nil {
		return err
	}
	return o.stream.Send(&v3electionpb.LeaderResponse{Header: header, Kv: kv})
}

// follow calls each with what happens to keys until that says errDeleted, which is no error.
func (o *observer) follow(ctx context.Context, r watch.Request, each func(watch.Batch) error) error {
	w, err := o.store.Watch(r)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		batch, err := w.Next(ctx)
		if err == nil {
			err = each(batch)
		}
		if errors.Is(err, errDeleted) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
