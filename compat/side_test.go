package compat

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// side is one of the two that are compared, seen through the bare protocol: no client library in between that could
// make answers equal.
type side struct {
	name     string
	endpoint string
	kv       pb.KVClient
	lease    pb.LeaseClient
	maintain pb.MaintenanceClient
	auth     pb.AuthClient
	watch    pb.WatchClient
	watches  *watches
	lock     v3lockpb.LockClient
	election v3electionpb.ElectionClient
	cluster  pb.ClusterClient
	health   healthpb.HealthClient
}

func dial(t *testing.T, name, endpoint string) *side {
	t.Helper()
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return &side{
		name:     name,
		endpoint: endpoint,
		kv:       pb.NewKVClient(connection),
		lease:    pb.NewLeaseClient(connection),
		maintain: pb.NewMaintenanceClient(connection),
		auth:     pb.NewAuthClient(connection),
		watch:    pb.NewWatchClient(connection),
		watches:  openWatches(t, name, pb.NewWatchClient(connection)),
		lock:     v3lockpb.NewLockClient(connection),
		election: v3electionpb.NewElectionClient(connection),
		cluster:  pb.NewClusterClient(connection),
		health:   healthpb.NewHealthClient(connection),
	}
}

// answer is what a request came to: a response or a status.
type answer struct {
	response proto.Message
	code     string
	text     string
}

// do sends a request and returns the answer, without what cannot be equal.
func (s *side) do(ctx context.Context, request proto.Message) answer {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return answerOf(s.send(ctx, request))
}

func answerOf(response proto.Message, err error) answer {
	if err != nil {
		return answer{code: status.Code(err).String(), text: status.Convert(err).Message()}
	}
	if r, ok := response.(*pb.AuthRoleGetResponse); ok && len(r.Perm) > stableSort {
		slices.SortFunc(r.Perm, func(a, b *authpb.Permission) int {
			return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.RangeEnd, b.RangeEnd),
				cmp.Compare(a.PermType, b.PermType))
		})
	}
	return answer{response: withoutIdentity(response)}
}

// stableSort is up to how many permissions etcd keeps the order of those of one key, by chance.
const stableSort = 12

// stream is a RangeRequest that goes to RangeStream.
type stream struct{ *pb.RangeRequest }

func (s *side) send(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *pb.RangeRequest:
		return s.kv.Range(ctx, r)
	case stream:
		return s.rangeStream(ctx, r.RangeRequest)
	case *pb.PutRequest:
		return s.kv.Put(ctx, r)
	case *pb.DeleteRangeRequest:
		return s.kv.DeleteRange(ctx, r)
	case *pb.TxnRequest:
		return s.kv.Txn(ctx, r)
	case *pb.CompactionRequest:
		return s.kv.Compact(ctx, r)
	case *pb.LeaseGrantRequest:
		return s.lease.LeaseGrant(ctx, r)
	case *pb.LeaseRevokeRequest:
		return s.lease.LeaseRevoke(ctx, r)
	case *pb.LeaseTimeToLiveRequest:
		return s.lease.LeaseTimeToLive(ctx, r)
	case *pb.LeaseLeasesRequest:
		return s.lease.LeaseLeases(ctx, r)
	case *pb.LeaseKeepAliveRequest:
		return s.keepAlive(ctx, r)
	case *pb.HashKVRequest:
		return s.maintain.HashKV(ctx, r)
	}
	return s.sendAuth(ctx, request)
}

// rangeStream returns the chunks put together, as the protocol says they can be.
func (s *side) rangeStream(ctx context.Context, r *pb.RangeRequest) (proto.Message, error) {
	chunks, err := s.kv.RangeStream(ctx, r)
	if err != nil {
		return nil, err
	}
	whole := &pb.RangeResponse{}
	for {
		chunk, err := chunks.Recv()
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		if whole.Header != nil {
			return nil, errors.New("compat: a chunk after the one with the header")
		}
		proto.Merge(whole, chunk.RangeResponse)
	}
}

func (s *side) keepAlive(ctx context.Context, r *pb.LeaseKeepAliveRequest) (proto.Message, error) {
	renewals, err := s.lease.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	if err := renewals.Send(r); err != nil {
		return nil, err
	}
	return renewals.Recv()
}

// withoutIdentity removes from a response what two clusters cannot have in common, and brings in order what has none.
func withoutIdentity(response proto.Message) proto.Message {
	forEach(response.ProtoReflect(), func(m proto.Message) {
		switch m := m.(type) {
		case *pb.ResponseHeader:
			m.ClusterId, m.MemberId, m.RaftTerm = 0, 0, 0
		case *mvccpb.KeyValue:
			if len(m.Value) == 0 {
				m.Lease = 0 // etcd 3.7 leaves it out of answers to keys_only
			}
		}
	})
	switch r := response.(type) {
	case *pb.LeaseGrantResponse:
		r.TTL = withoutWait(r.TTL)
	case *pb.LeaseKeepAliveResponse:
		r.TTL = withoutWait(r.TTL)
	case *pb.LeaseTimeToLiveResponse:
		if d := r.GrantedTTL - r.TTL; r.TTL > 0 && d >= 0 && d < leaseTime() {
			r.TTL = r.GrantedTTL // time has passed
		}
		slices.SortFunc(r.Keys, slices.Compare)
	case *pb.LeaseLeasesResponse:
		slices.SortFunc(r.Leases, func(a, b *pb.LeaseStatus) int { return int(a.ID - b.ID) })
	case *pb.HashKVResponse:
		r.Hash = 0
		r.CompactRevision = 0 // etcd begins at -1, and of a revision that was compacted it says what was so before
	}
	return response
}

// withoutWait returns what is told of a time to live in whole steps of what may have passed of it: Mimir subtracts what
// the answer took.
func withoutWait(ttl int64) int64 {
	step := leaseTime()
	if ttl <= 0 {
		return ttl
	}
	return (ttl + step - 1) / step * step
}

// leaseTime is how many seconds may have passed of a lease on one side and not on the other: nodes that were started
// before take their time, and a move gives every lease its whole time again.
func leaseTime() int64 {
	if *endpointsFlag != "" || *regionsFlag > 0 {
		return 900
	}
	return 60
}

// forEach calls do for a message and all messages in it.
func forEach(m protoreflect.Message, do func(proto.Message)) {
	do(m.Interface())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				forEach(v.List().Get(i).Message(), do)
			}
		default:
			forEach(v.Message(), do)
		}
		return true
	})
}
