package etcdapi

import (
	"context"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// leaseServer is the Lease service.
type leaseServer struct {
	pb.UnimplementedLeaseServer
	*API
}

// LeaseGrant grants a lease. Its ID, if the client gives none, is chosen here, before the command exists: commands are
// deterministic.
func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	if err := s.checkSpace(); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	for r.ID == 0 {
		r.ID = rand.Int64()
	}
	return write(ctx, s.API, command.EncodeLeaseGrant(r), command.DecodeLeaseGrantResult)
}

// LeaseRevoke revokes a lease and deletes its keys.
func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return write(ctx, s.API, command.EncodeLeaseRevoke(r), command.DecodeLeaseRevokeResult)
}

// LeaseTimeToLive asks the leader of the primary region for the remaining time, and takes the keys from this node once
// it has all that was acknowledged.
func (s *leaseServer) LeaseTimeToLive(
	ctx context.Context, r *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, s.limits.RequestTimeout)
	defer cancel()
	answer, err := s.replicator.Ask(bounded, encodeTimeToLive(r.ID))
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	numbers, err := decodeInt64s(answer)
	if err != nil || len(numbers) != 2 {
		return nil, s.statusOf(ctx, ErrAsk)
	}
	response := &pb.LeaseTimeToLiveResponse{ID: r.ID, TTL: numbers[0], GrantedTTL: numbers[1]}
	if r.Keys && response.TTL != leaseGone {
		if err := s.barrier(ctx); err != nil {
			return nil, err
		}
		_, response.Keys, _ = s.store.Lease(r.ID)
	}
	response.Header = s.header(s.store.Revision())
	return response, nil
}

// LeaseLeases lists all leases.
func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	if err := s.barrier(ctx); err != nil {
		return nil, err
	}
	leases := s.store.Leases()
	response := &pb.LeaseLeasesResponse{
		Header: s.header(s.store.Revision()), Leases: make([]*pb.LeaseStatus, 0, len(leases)),
	}
	for _, l := range leases {
		response.Leases = append(response.Leases, &pb.LeaseStatus{ID: l.ID})
	}
	return response, nil
}
