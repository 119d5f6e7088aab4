package etcdapi

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/auth"
)

// told answers what is asked about users and roles, by what the primary had when it was asked.
func told[R any](
	ctx context.Context, a *API, answer func(*auth.State, auth.Identity) (R, error),
) (response R, header *pb.ResponseHeader, err error) {
	sure, err := a.begin(ctx, nil)
	if err != nil {
		return response, nil, err
	}
	now := a.store.Auth()
	id, _, err := a.identity(ctx, now, a.clock.Now())
	if err == nil {
		response, err = answer(now, id)
	}
	header = a.header(a.store.Revision())
	if err == nil {
		err = sure()
	}
	return response, header, a.statusOf(ctx, err)
}

// AuthStatus says whether requests have to say who asks.
func (s *authServer) AuthStatus(ctx context.Context, _ *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	response, header, err := told(ctx, s.API, func(now *auth.State, _ auth.Identity) (*pb.AuthStatusResponse, error) {
		return now.Status(), nil
	})
	if err != nil {
		return nil, err
	}
	response.Header = header
	return response, nil
}

// UserGet tells root about any user, and a user about himself.
func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	response, header, err := told(ctx, s.API,
		func(now *auth.State, id auth.Identity) (*pb.AuthUserGetResponse, error) { return now.UserGet(id, r) })
	if err != nil {
		return nil, err
	}
	response.Header = header
	return response, nil
}

// UserList tells root of all users.
func (s *authServer) UserList(ctx context.Context, _ *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	response, header, err := told(ctx, s.API, (*auth.State).UserList)
	if err != nil {
		return nil, err
	}
	response.Header = header
	return response, nil
}

// RoleGet tells root about any role, and a user about those that he has.
func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	response, header, err := told(ctx, s.API,
		func(now *auth.State, id auth.Identity) (*pb.AuthRoleGetResponse, error) { return now.RoleGet(id, r) })
	if err != nil {
		return nil, err
	}
	response.Header = header
	return response, nil
}

// RoleList tells root of all roles.
func (s *authServer) RoleList(ctx context.Context, _ *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	response, header, err := told(ctx, s.API, (*auth.State).RoleList)
	if err != nil {
		return nil, err
	}
	response.Header = header
	return response, nil
}
