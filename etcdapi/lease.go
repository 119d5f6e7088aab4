package etcdapi

import (
	"bytes"
	"context"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
)

// leaseBytes is about what a lease in an answer takes in memory, and a key of one beside its bytes.
const leaseBytes = 96

// orderBytes is what a lease takes beside that while a list is brought in order.
const orderBytes = 40

// leaseServer is the Lease service.
type leaseServer struct {
	pb.UnimplementedLeaseServer
	*API
}

// LeaseGrant grants a lease. Its ID, if the client gives none, is chosen here, before the command exists: commands are
// deterministic. It is told with what is left: it runs since it was applied, wherever the answer waited then.
func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	asked := s.clock.Elapsed()
	granted, err := s.grant(ctx, r, false)
	if err != nil {
		return nil, err
	}
	left := lease.Left(granted.TTL, s.clock.Elapsed()-asked)
	if left == 0 {
		left = s.renewNow(granted.ID)
	}
	if left == 0 {
		return nil, GrantOver(granted.ID)
	}
	granted.TTL = left
	return granted, nil
}

// renewNow renews a lease, and returns what is left of it: 0 if that cannot be said.
func (s *leaseServer) renewNow(id int64) int64 {
	asked := s.clock.Elapsed()
	ttls, err := s.askRenew([]int64{id})
	if err != nil || len(ttls) != 1 {
		return 0
	}
	return max(0, lease.Left(ttls[0], s.clock.Elapsed()-asked))
}

// GrantOver says that it took so long to grant a lease that it may be over. It is not Unavailable: clients would send
// the grant again by themselves, which may take as long.
func GrantOver(id int64) error {
	return status.Errorf(codes.FailedPrecondition, "mimir: lease %x was granted, and may be over before this could be "+
		"told: grant another one, for longer", id)
}

// grant grants a lease. alone says that it waits for no other region: what is written behind it does.
func (s *leaseServer) grant(
	ctx context.Context, r *pb.LeaseGrantRequest, alone bool,
) (*pb.LeaseGrantResponse, error) {
	who, err := s.asks(ctx, isSomebody)
	if err != nil {
		return nil, err
	}
	if err := s.checkAlarms(ctx, againstSpace); err != nil {
		return nil, err
	}
	for r.ID == 0 {
		r.ID = rand.Int64()
	}
	who.repeats, who.local = true, alone
	return write(ctx, s.API, who, command.EncodeLeaseGrant(r), command.DecodeLeaseGrantResult)
}

// LeaseRevoke revokes a lease and deletes its keys.
func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	who, err := s.commands(ctx, s.mayDo(ctx, r))
	if err != nil {
		return nil, err
	}
	if err := s.checkAlarms(ctx, againstAll); err != nil {
		return nil, err
	}
	done, err := s.admit(ctx, true, func(ctx context.Context, limit int64) (int64, error) {
		return s.store.Estimator().Revoke(ctx, r.ID, limit)
	})
	if err != nil {
		return nil, err
	}
	defer done()
	who = who.touching(touchedByLease(s.API, r.ID)...)
	who.repeats = true
	return write(ctx, s.API, who, command.EncodeLeaseRevoke(r), command.DecodeLeaseRevokeResult)
}

// LeaseTimeToLive asks the leader of the primary region for the remaining time, and takes the keys from this node once
// it has all that was acknowledged. That leader knows of leases when they are applied: what it says is told when it is
// as safe as what was acknowledged, less what that took. It is asked again, once, where that was longer than what was
// left: the question may have waited for a primary, and been answered just now.
func (s *leaseServer) LeaseTimeToLive(
	ctx context.Context, r *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	may := isSomebody
	if r.Keys {
		may = s.mayRead(ctx, r.ID)
	}
	before := s.store.Auth().Revision()
	id, err := s.permitted(ctx, may)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	question := timeToLive{LeaseTimeToLiveRequest: r, id: id, before: before}
	response, late, err := s.timeToLive(ctx, bounded, question)
	if late {
		response, _, err = s.timeToLive(ctx, bounded, question)
	}
	return response, err
}

// timeToLive is a question about a lease, by whom it is, and the revision of the users and roles by which he may ask.
type timeToLive struct {
	*pb.LeaseTimeToLiveRequest
	id     auth.Identity
	before uint64
}

// timeToLive asks once, with an answer of the leader within bounded. It is late if that said that something was left,
// of which nothing may be by now.
func (s *leaseServer) timeToLive(
	ctx, bounded context.Context, r timeToLive,
) (response *pb.LeaseTimeToLiveResponse, late bool, err error) {
	asked := s.clock.Elapsed()
	answer, err := s.replicator.Ask(bounded, encodeTimeToLive(r.ID))
	if err != nil {
		return nil, false, s.statusOf(ctx, err)
	}
	numbers, err := decodeInt64s(answer)
	if err != nil || len(numbers) != 2 {
		return nil, false, s.statusOf(ctx, ErrAsk)
	}
	response = &pb.LeaseTimeToLiveResponse{ID: r.ID, TTL: numbers[0], GrantedTTL: numbers[1]}
	taken := s.answers.begin(ctx)
	defer taken.close()
	sure, err := s.begin(ctx, taken) // behind the answer: what the leader has, acknowledged or not, is here then
	if err != nil {
		return nil, false, err
	}
	switch _, there := kv.LeaseTTL(s.store, r.ID); {
	case !there:
		response.TTL, response.GrantedTTL = leaseGone, 0
	case kv.LeaseKeys{Store: s.store}.Ending(r.ID):
		response.TTL = leaseGone
	}
	if r.Keys && response.TTL != leaseGone {
		if response.Keys, err = attached(s.store, r.ID, taken.take); err != nil {
			return nil, false, s.statusOf(ctx, err)
		}
		if err := mayReadAll(s.store.Auth(), r.id, response.Keys); err != nil { // it may have more of them by now
			return nil, false, s.statusOf(ctx, err)
		}
	}
	if err := s.since(r.before); r.Keys && err != nil {
		return nil, false, s.statusOf(ctx, err)
	}
	response.Header = s.header(s.store.Revision())
	if err := sure(); err != nil {
		return nil, false, s.statusOf(ctx, err)
	}
	said := response.TTL
	response.TTL = lease.Left(said, s.clock.Elapsed()-asked)
	return response, said > 0 && response.TTL == 0, nil
}

// LeaseLeases lists all leases: at the node that keeps them in the order in which they expire, else by ID.
func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	taken := s.answers.begin(ctx)
	defer taken.close()
	sure, err := s.begin(ctx, taken)
	if err != nil {
		return nil, err
	}
	if err := taken.take(int64(kv.LeaseCount(s.store)) * (leaseBytes + orderBytes)); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	leases, before := s.store.Leases(), s.store.Auth().Revision()
	if err := taken.waits(); err != nil { // whoever is refused may ask the primary why
		return nil, s.statusOf(ctx, err)
	}
	_, err = s.judge(ctx, s.clock.Now(), func(now *auth.State, id auth.Identity) error {
		for _, l := range leases {
			if err := s.mayRead(ctx, l.ID)(now, id); err != nil {
				return err
			}
		}
		return isSomebody(now, id)
	}, &catchUp{barrier: s.barrier})
	if err == nil {
		err = s.since(before)
	}
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	s.lessor.Order(leases)
	response := &pb.LeaseLeasesResponse{
		Header: s.header(s.store.Revision()), Leases: make([]*pb.LeaseStatus, 0, len(leases)),
	}
	for _, l := range leases {
		response.Leases = append(response.Leases, &pb.LeaseStatus{ID: l.ID})
	}
	if err := sure(); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	return response, nil
}

// attached returns the keys of a lease, in order.
func attached(s *kv.Store, id int64, take func(bytes int64) error) (keys [][]byte, err error) {
	err = kv.LeaseKeys{Store: s}.Each(id, func(key []byte) error {
		keys = append(keys, bytes.Clone(key))
		return take(int64(len(key)) + leaseBytes)
	})
	return keys, err
}

func mayReadAll(now *auth.State, id auth.Identity, keys [][]byte) error {
	if now.Admin(id) == nil {
		return nil
	}
	for _, key := range keys {
		if err := now.ReadRange(id, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// mayRead is the right to know of a lease with its keys: root's, or of whoever may read all of them.
func (g *guard) mayRead(ctx context.Context, lease int64) right {
	return g.mayWithKeys(ctx, lease, func(s *auth.State, id auth.Identity, key []byte) error {
		return s.ReadRange(id, key, nil)
	})
}

// mayRenew is the right to extend a lease: root's, or of whoever may write all of its keys.
func (g *guard) mayRenew(ctx context.Context, lease int64) right {
	return g.mayWithKeys(ctx, lease, func(s *auth.State, id auth.Identity, key []byte) error {
		return s.WriteKey(id, key)
	})
}

func (g *guard) mayWithKeys(
	ctx context.Context, lease int64, may func(*auth.State, auth.Identity, []byte) error,
) right {
	return func(s *auth.State, id auth.Identity) error {
		if err := isSomebody(s, id); err != nil || s.Admin(id) == nil {
			return err
		}
		return kv.LeaseKeys{Store: g.store}.While(ctx)(lease, func(key []byte) error { return may(s, id, key) })
	}
}
