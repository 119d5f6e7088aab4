package etcdapi

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/auth"
)

// told answers what is asked about users and roles, by what the primary had when it was asked.
func (a *API) told(ctx context.Context, may right, answer func(*auth.State) error) error {
	if err := a.barrier(ctx); err != nil {
		return err
	}
	if _, err := a.judge(ctx, a.clock.Now(), may); err != nil {
		return a.statusOf(ctx, err)
	}
	return a.statusOf(ctx, answer(a.store.Auth()))
}

// UserGet tells root about any user, and a user about himself.
func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (response *pb.AuthUserGetResponse, err error) {
	may := func(now *auth.State, id auth.Identity) error {
		if err := now.Admin(id); err != nil && r.Name != id.User {
			return err
		}
		return nil
	}
	err = s.told(ctx, may, func(now *auth.State) error {
		response, err = now.UserGet(r.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	response.Header = s.header(s.store.Revision())
	return response, nil
}

// UserList tells root of all users.
func (s *authServer) UserList(
	ctx context.Context, _ *pb.AuthUserListRequest,
) (response *pb.AuthUserListResponse, err error) {
	err = s.told(ctx, isRoot, func(now *auth.State) error {
		response = now.UserList()
		return nil
	})
	if err != nil {
		return nil, err
	}
	response.Header = s.header(s.store.Revision())
	return response, nil
}

// RoleGet tells root about any role, and a user about those that he has.
func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (response *pb.AuthRoleGetResponse, err error) {
	may := func(now *auth.State, id auth.Identity) error {
		if err := now.Admin(id); err != nil && !now.HasRole(id.User, r.Role) {
			return err
		}
		return nil
	}
	err = s.told(ctx, may, func(now *auth.State) error {
		response, err = now.RoleGet(r.Role)
		return err
	})
	if err != nil {
		return nil, err
	}
	response.Header = s.header(s.store.Revision())
	return response, nil
}

// RoleList tells root of all roles.
func (s *authServer) RoleList(
	ctx context.Context, _ *pb.AuthRoleListRequest,
) (response *pb.AuthRoleListResponse, err error) {
	err = s.told(ctx, isRoot, func(now *auth.State) error {
		response = now.RoleList()
		return nil
	})
	if err != nil {
		return nil, err
	}
	response.Header = s.header(s.store.Revision())
	return response, nil
}
