package front

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/partial"
)

// Front stands before the etcd API of a node of a partial region. It is safe for concurrent use.
type Front struct {
	sink  *partial.Sink
	links *partial.Links
	store *kv.Store
	// outside is what is told whoever asks for other keys, and unserved whoever makes a call that is not served.
	outside, unserved error
	partial           string
	quiet             time.Duration // quietTime, but in tests
	clock             clock.Clock   // the machine's, but in tests
}

const (
	// placeTime bounds how long a read waits for what the fleet has, and writtenTime how long the answer to a write
	// waits until it can be read here.
	placeTime, writtenTime = 10 * time.Second, time.Second
)

// New returns what stands before the API of a node that holds what sink brings.
func New(sink *partial.Sink) *Front {
	region, prefixes := sink.Standing().Region, sink.Prefixes().String()
	advice := "; ask a node of a full region of the fleet"
	what := "partial region " + region + ": follows only " + prefixes
	return &Front{
		sink: sink, links: sink.Links, store: sink.Place.Store(), partial: what, quiet: quietTime,
		outside: status.Error(codes.FailedPrecondition, "mimir: "+what+", and what was asked for is not within that"+
			advice),
		unserved: status.Error(codes.FailedPrecondition, "mimir: "+what+", and does not serve this call"+advice),
		clock:    clock.Real,
	}
}

const (
	kvService     = "/etcdserverpb.KV/"
	leaseService  = "/etcdserverpb.Lease/"
	authService   = "/etcdserverpb.Auth/"
	healthService = "/grpc.health.v1.Health/"

	rangeMethod      = kvService + "Range"
	streamMethod     = kvService + "RangeStream"
	txnMethod        = kvService + "Txn"
	watchMethod      = "/etcdserverpb.Watch/Watch"
	keepAliveMethod  = leaseService + "LeaseKeepAlive"
	statusMethod     = "/etcdserverpb.Maintenance/Status"
	authStatusMethod = authService + "AuthStatus"
	membersMethod    = "/etcdserverpb.Cluster/MemberList"
)

// passed are the calls that the fleet answers, each with what its answer is.
var passed = map[string]func() proto.Message{
	kvService + "Put":            func() proto.Message { return new(pb.PutResponse) },
	kvService + "DeleteRange":    func() proto.Message { return new(pb.DeleteRangeResponse) },
	txnMethod:                    func() proto.Message { return new(pb.TxnResponse) },
	leaseService + "LeaseGrant":  func() proto.Message { return new(pb.LeaseGrantResponse) },
	leaseService + "LeaseRevoke": func() proto.Message { return new(pb.LeaseRevokeResponse) },
	ttlMethod:                    func() proto.Message { return new(pb.LeaseTimeToLiveResponse) },
	authService + "Authenticate": func() proto.Message { return new(pb.AuthenticateResponse) },
	authStatusMethod:             func() proto.Message { return new(pb.AuthStatusResponse) },
}

// Unary is the interceptor of a gRPC server.
func (f *Front) Unary(ctx context.Context, r any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	switch method := info.FullMethod; {
	case method == rangeMethod:
		return f.judged(func(by etcdapi.Rights) (any, error) {
			q, err := f.readRange(ctx, by, r.(*pb.RangeRequest))
			if err != nil {
				return nil, err
			}
			return handle(ctx, q)
		})
	case method == statusMethod:
		return f.judged(func(by etcdapi.Rights) (any, error) {
			if err := f.may(ctx, by, method, r, new(pb.StatusResponse)); err != nil {
				return nil, err
			}
			answer, err := handle(ctx, r)
			if s, ok := answer.(*pb.StatusResponse); ok && err == nil {
				s.Errors = append(s.Errors, f.partial)
			}
			return answer, err
		})
	case method == membersMethod:
		return f.judged(func(by etcdapi.Rights) (any, error) {
			if err := f.may(ctx, by, method, r, new(pb.MemberListResponse)); err != nil {
				return nil, err
			}
			return handle(ctx, r)
		})
	case strings.HasPrefix(method, healthService):
		return handle(ctx, r)
	case method == txnMethod && isStale(r.(*pb.TxnRequest)):
		return f.judged(func(by etcdapi.Rights) (any, error) {
			switch {
			case by.Enabled:
				return f.pass(ctx, method, r)
			case !f.holdsTxn(r.(*pb.TxnRequest)):
				return nil, f.outside
			}
			return handle(ctx, r)
		})
	case passed[method] != nil:
		return f.pass(ctx, method, r)
	}
	return nil, f.unserved
}

// pass has the fleet answer a call, if it is about the keys that are followed.
func (f *Front) pass(ctx context.Context, method string, r any) (any, error) {
	if err := f.holdsAll(ctx, r); err != nil {
		return nil, err
	}
	answer, age, err := f.invoke(ctx, method, r)
	ttl, ok := answer.(*pb.LeaseTimeToLiveResponse)
	if ok && err == nil && ttl.GrantedTTL > 0 && lease.Left(ttl.TTL, age) == 0 {
		answer, age, err = f.invoke(ctx, method, r) // what was said came too late to say anything, here or there
	}
	if err != nil {
		return nil, err
	}
	switch answer := answer.(type) {
	case *pb.LeaseTimeToLiveResponse:
		answer.TTL = lease.Left(answer.TTL, age)
		answer.Keys = slices.DeleteFunc(answer.Keys, func(key []byte) bool { return !f.sink.Prefixes().Hold(key, nil) })
	case *pb.LeaseGrantResponse:
		if answer.TTL = leftOfGrant(r.(*pb.LeaseGrantRequest).TTL, answer.TTL, age); answer.TTL == 0 {
			answer.TTL = f.renewNow(ctx, answer.ID)
		}
		if answer.TTL == 0 {
			return nil, etcdapi.GrantOver(answer.ID)
		}
	}
	if w, ok := answer.(interface{ GetHeader() *pb.ResponseHeader }); ok && strings.HasPrefix(method, kvService) {
		waiting, cancel := context.WithTimeout(ctx, writtenTime)
		_ = f.come(waiting, w.GetHeader().GetRevision()) // it is done either way
		cancel()
	}
	return answer, nil
}

// invoke asks the fleet, and returns how long ago that was by now. By so much its answer is too old at most: it says
// what was so when it was sent.
func (f *Front) invoke(ctx context.Context, method string, r any) (answer proto.Message, age time.Duration, err error) {
	answer, asked := passed[method](), f.clock.Elapsed()
	err = f.links.Now().Invoke(asCaller(ctx), method, r, answer)
	return answer, f.clock.Elapsed() - asked, err
}

// leftOfGrant returns what is left of a lease that was granted since it was asked for, with the age of that: the fleet
// has said what was left when it sent its answer. The time that the fleet took counts once, since no lease is granted
// for less than is asked for.
func leftOfGrant(asked, told int64, age time.Duration) int64 {
	return max(lease.Left(told, age), min(told, lease.Left(asked, age)))
}

// gatewayMark has the fleet take nobody for whom the certificate of this connection names: it is this node's, and not
// that of who asks.
const gatewayMark = "grpcgateway-accept"

// asCaller returns the context of a question to the fleet in the name of who asks here.
func asCaller(ctx context.Context) context.Context {
	shown := metadata.Pairs(gatewayMark, "*/*")
	in, _ := metadata.FromIncomingContext(ctx)
	for key, values := range in {
		if key == "token" || key == "authorization" || strings.HasPrefix(key, "mimir-") {
			shown[key] = values
		}
	}
	return metadata.NewOutgoingContext(ctx, shown)
}

// readRange returns what a range is here, for who asks and may read it: of a linearizable one, once this node has come
// to where the fleet is. The fleet judges it by no older users and roles than those.
func (f *Front) readRange(ctx context.Context, by etcdapi.Rights, r *pb.RangeRequest) (*pb.RangeRequest, error) {
	if !f.sink.Prefixes().Hold(r.Key, r.RangeEnd) {
		return nil, f.outside
	}
	if r.Serializable && !by.Enabled {
		return r, nil
	}
	at, err := f.ask(ctx, by, r.Key, r.RangeEnd, r.Serializable)
	if err != nil || r.Serializable {
		return r, err
	}
	if err := f.arrive(ctx, at); err != nil {
		return nil, err
	}
	here := proto.Clone(r).(*pb.RangeRequest)
	here.Serializable = true
	return here, nil
}

// ask asks the fleet, in the name of who asks, how far it is, and so whether he may read the range.
func (f *Front) ask(
	ctx context.Context, by etcdapi.Rights, key, end []byte, stale bool,
) (revision int64, err error) {
	q := &pb.RangeRequest{Key: key, RangeEnd: end, CountOnly: true, Serializable: stale}
	answer := new(pb.RangeResponse)
	if by.Enabled {
		err = f.links.Judge(asCaller(ctx), by, rangeMethod, q, answer)
	} else {
		err = f.links.Ask(asCaller(ctx), rangeMethod, q, answer)
	}
	return answer.GetHeader().GetRevision(), err
}

// newest asks the fleet how far it is, which everybody may who says who he is, or need not: whether he may read what he
// asks for is another question.
func (f *Front) newest(ctx context.Context) (revision int64, err error) {
	answer := new(pb.AuthStatusResponse)
	if err := f.links.Ask(asCaller(ctx), authStatusMethod, &pb.AuthStatusRequest{}, answer); err != nil {
		return 0, err
	}
	return answer.GetHeader().GetRevision(), nil
}

// arrive returns once this node has come to a revision of the fleet, and may show it.
func (f *Front) arrive(ctx context.Context, revision int64) error {
	waiting, cancel := context.WithTimeout(ctx, placeTime)
	defer cancel()
	err := f.come(waiting, revision)
	if err == nil {
		err = f.sink.Shown(waiting)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Errorf(codes.Unavailable, "mimir: partial region %s is at revision %d, and the fleet at %d: %v",
		f.sink.Standing().Region, f.store.Revision(), revision, err)
}

// shown returns once what is held here may be shown.
func (f *Front) shown(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, placeTime)
	defer cancel()
	err := f.sink.Shown(waiting)
	if err != nil && ctx.Err() == nil {
		return status.Errorf(codes.Unavailable, "mimir: %s: %v", f.partial, err)
	}
	return err
}

// come returns once this node has come to a revision of the fleet. One that looks like another history's, since a
// failover has moved the fleet far ahead, is waited for likewise.
func (f *Front) come(ctx context.Context, revision int64) error {
	for {
		err := f.store.WaitRevision(ctx, revision)
		var strange *watch.CompactedError
		if !errors.As(err, &strange) {
			return err
		}
		if err := f.store.WaitRevision(ctx, f.store.Revision()+1); err != nil && !errors.As(err, &strange) {
			return err
		}
	}
}
