package auth

import (
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// Answers to requests that change nothing, without a header. What they hold must not be changed.

// Status answers an AuthStatusRequest.
func (s *State) Status() *pb.AuthStatusResponse {
	return &pb.AuthStatusResponse{Enabled: s.enabled, AuthRevision: s.revision}
}

// UserGet answers r: to root, and to the user itself, while what he stands on is as it was.
func (s *State) UserGet(id Identity, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	if err := s.Stands(id); err != nil {
		return nil, err
	}
	if err := s.Admin(id); err != nil && r.Name != id.User {
		return nil, err
	}
	u := s.user(r.Name)
	if u == nil {
		return nil, command.ErrUserNotFound
	}
	return &pb.AuthUserGetResponse{Roles: slices.Clone(u.Roles)}, nil
}

// UserList answers an AuthUserListRequest: to root, in order.
func (s *State) UserList(id Identity) (*pb.AuthUserListResponse, error) {
	if err := s.Admin(id); err != nil {
		return nil, err
	}
	return &pb.AuthUserListResponse{Users: slices.Sorted(maps.Keys(s.users))}, nil
}

// RoleGet answers r: to root, and to who has the role, while what he stands on is as it was.
func (s *State) RoleGet(id Identity, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	if err := s.Stands(id); err != nil {
		return nil, err
	}
	if err := s.Admin(id); err != nil && !s.HasRole(id.User, r.Role) {
		return nil, err
	}
	role := s.roles[r.Role]
	switch {
	case role == nil:
		return nil, command.ErrRoleNotFound
	case r.Role == Root:
		everything := &authpb.Permission{PermType: authpb.Permission_READWRITE, Key: []byte{}, RangeEnd: []byte{0}}
		return &pb.AuthRoleGetResponse{Perm: []*authpb.Permission{everything}}, nil
	}
	return &pb.AuthRoleGetResponse{Perm: slices.Clone(role.KeyPermission)}, nil
}

// RoleList answers an AuthRoleListRequest: to root, in order.
func (s *State) RoleList(id Identity) (*pb.AuthRoleListResponse, error) {
	if err := s.Admin(id); err != nil {
		return nil, err
	}
	return &pb.AuthRoleListResponse{Roles: slices.Sorted(maps.Keys(s.roles))}, nil
}
