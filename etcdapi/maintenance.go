package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coreos/go-semver/semver"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// maintenanceServer is the Maintenance service.
type maintenanceServer struct {
	pb.UnimplementedMaintenanceServer
	*API
}

// Status describes this node.
func (s *maintenanceServer) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	if _, err := s.permitted(ctx, isSomebody); err != nil {
		return nil, err
	}
	health := s.replicator.Health()
	total, inUse := s.store.SizeBytes()
	quota := int64(0)
	if s.quota != nil {
		quota = s.quota()
	}
	response := &pb.StatusResponse{
		Header:           s.header(s.store.Revision()),
		Version:          s.version,
		StorageVersion:   minorVersion(s.version),
		DbSize:           total,
		DbSizeInUse:      inUse,
		DbSizeQuota:      quota,
		Leader:           health.LeaderRaftID,
		RaftIndex:        health.CommitIndex,
		RaftTerm:         health.Term,
		RaftAppliedIndex: health.AppliedIndex,
		DowngradeInfo:    &pb.DowngradeInfo{},
	}
	if self := nodeOf(health.Nodes, health.RaftID); self != nil {
		response.IsLearner = self.Learner
	}
	if health.LeaderRaftID == 0 {
		response.Errors = append(response.Errors, rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader))
	}
	for _, a := range alarmsOf(s.store) {
		response.Errors = append(response.Errors, a.String())
	}
	if health.Problem != "" {
		response.Errors = append(response.Errors, health.Problem)
	}
	return response, nil
}

// Hash hashes everything that can be read or watched, at any revision that is not compacted.
func (s *maintenanceServer) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	if err := s.mayOperate(ctx); err != nil {
		return nil, err
	}
	if err := s.fresh(ctx, replication.Serializable); err != nil {
		return nil, err
	}
	hash, _, revision, err := s.store.Hash(ctx, 0)
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	return &pb.HashResponse{Header: s.header(revision), Hash: hash}, nil
}

// HashKV hashes what can be read at a revision. It is equal on all nodes of all regions (invariant 10), and no
// compaction changes it. An etcd with the same contents says something else.
func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	if err := s.mayOperate(ctx); err != nil {
		return nil, err
	}
	if err := s.fresh(ctx, replication.Serializable); err != nil {
		return nil, err
	}
	hash, compacted, revision, err := s.store.HashContent(ctx, r.Revision)
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	response := &pb.HashKVResponse{
		Header: s.header(revision), Hash: hash, CompactRevision: compacted, HashRevision: r.Revision,
	}
	if r.Revision == 0 {
		response.HashRevision = revision
	}
	return response, nil
}

// MoveLeader hands the leadership of this region from this node to another.
func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	if err := s.mayOrder(ctx); err != nil {
		return nil, err
	}
	health := s.replicator.Health()
	if !health.IsLeader {
		return nil, rpctypes.ErrGRPCNotLeader
	}
	if target := nodeOf(health.Nodes, r.TargetID); target == nil || target.Learner {
		return nil, rpctypes.ErrGRPCBadLeaderTransferee
	}
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	switch err := s.replicator.TransferLeader(bounded, r.TargetID); {
	case err == nil:
		return &pb.MoveLeaderResponse{}, nil
	case errors.Is(err, replication.ErrMember), errors.Is(err, replication.ErrUnknownOutcome) && ctx.Err() == nil:
		return nil, errTransferTooLong
	default:
		return nil, s.statusOf(ctx, err)
	}
}

// errTransferTooLong is what etcd says if a voter does not take the lead over in time.
var errTransferTooLong = status.Error(codes.Unavailable,
	"etcdserver: request timed out, leader transfer took too long")

// Defragment has this node's store written anew, and is answered when that is done. Nothing waits for it meanwhile. As
// etcd's its answer is empty.
func (s *maintenanceServer) Defragment(
	ctx context.Context, _ *pb.DefragmentRequest,
) (*pb.DefragmentResponse, error) {
	if err := s.mayOperate(ctx); err != nil {
		return nil, err
	}
	select {
	case s.defragmenting <- struct{}{}:
		defer func() { <-s.defragmenting }()
	case <-ctx.Done():
		return nil, s.statusOf(ctx, ctx.Err())
	}
	if err := kv.Defragment(ctx, s.store); err != nil {
		return nil, s.statusOf(ctx, err)
	}
	return &pb.DefragmentResponse{}, nil
}

// errNoDowngrade says that there is none by this way.
var errNoDowngrade = status.Error(codes.FailedPrecondition, "mimir: the store is of Mimir's engine, which no etcd "+
	"takes over, so there is no downgrade to one; for an earlier version of Mimir see Upgrade in docs/operating.md")

// Downgrade answers as etcd does, but for a version to which etcd could be downgraded: that Mimir does not. There is
// none to cancel, which etcd does not mind.
func (s *maintenanceServer) Downgrade(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	if err := s.mayOperate(ctx); err != nil {
		return nil, err
	}
	now, err := semver.NewVersion(s.version)
	if err != nil {
		return nil, errNoDowngrade
	}
	switch r.Action {
	case pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE:
		target, err := semver.NewVersion(r.Version)
		if err != nil {
			target, err = semver.NewVersion(r.Version + ".0")
		}
		switch {
		case err != nil:
			return nil, rpctypes.ErrGRPCWrongDowngradeVersionFormat
		case target.Major != now.Major || target.Minor != now.Minor-1:
			return nil, rpctypes.ErrGRPCInvalidDowngradeTargetVersion
		}
		return nil, errNoDowngrade
	case pb.DowngradeRequest_CANCEL:
		if err := s.barrier(ctx); err != nil {
			return nil, err
		}
		return &pb.DowngradeResponse{
			Header: s.header(s.store.Revision()), Version: fmt.Sprintf("%d.%d", now.Major, now.Minor),
		}, nil
	}
	return nil, errUnknownMethod
}

// errUnknownMethod is what etcd says of actions that it does not know.
var errUnknownMethod = status.Error(codes.Unknown, "etcdserver: unknown method")

// nodeOf returns the node with a Raft identity, nil if there is none.
func nodeOf(nodes []replication.NodeStatus, id uint64) *replication.NodeStatus {
	i := slices.IndexFunc(nodes, func(n replication.NodeStatus) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &nodes[i]
}

// minorVersion returns version with its patch number zero, as clusters of etcd agree on it.
func minorVersion(version string) string {
	v, err := semver.NewVersion(version)
	if err != nil {
		return version
	}
	v.Patch = 0
	return v.String()
}
