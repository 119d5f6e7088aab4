package etcdapi

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lockServer is the Lock service.
type lockServer struct {
	v3lockpb.UnimplementedLockServer
	kv *kvServer
}

// errSessionExpired is what etcd says of a lock whose key was gone before its turn came.
var errSessionExpired = status.Error(codes.Unknown, "mutex: session is expired")

// Lock returns once the lock is held: until its key is deleted, by Unlock or with its lease. Who waits holds a place,
// and loses it with the lease, or when the request ends.
func (s *lockServer) Lock(ctx context.Context, r *v3lockpb.LockRequest) (*v3lockpb.LockResponse, error) {
	done, err := hold(ctx, s.kv.API, r)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = toWait(ctx)
	p, first, response, err := s.kv.enter(ctx, r.Name, r.Lease, nil)
	if err != nil {
		return nil, asClient(err)
	}
	header := response.Header
	if !first {
		header, err = p.turn(ctx)
	}
	switch {
	case errors.Is(err, errPlaceLost):
		return nil, errSessionExpired
	case err != nil:
		p.leave(ctx)
		return nil, asClient(err)
	}
	return &v3lockpb.LockResponse{Header: header, Key: p.key}, nil
}

// Unlock deletes the key of a lock.
func (s *lockServer) Unlock(ctx context.Context, r *v3lockpb.UnlockRequest) (*v3lockpb.UnlockResponse, error) {
	response, err := s.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: r.Key})
	if err != nil {
		return nil, asClient(err)
	}
	return &v3lockpb.UnlockResponse{Header: response.Header}, nil
}
