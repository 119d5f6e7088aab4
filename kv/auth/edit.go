package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// Writer takes the records of a state that change: see Load.
type Writer interface {
	// Auth replaces a record. A nil record removes it.
	Auth(kind byte, name string, record []byte) error
}

// Edit makes changes to a state, which stays as it is. It is used by one goroutine.
type Edit struct {
	*State // as changed so far
	own    bool
}

// Edit begins changes to s.
func (s *State) Edit() Edit { return Edit{State: s} }

// Enable does the request to enable authentication: it needs a user root with the role root; as in etcd that changes no
// revision. One that renews the key of tokens does that also where it is enabled already. That changes who somebody is,
// and so the revision. The error is one of etcd's, or of w.
func (e *Edit) Enable(r *command.AuthEnable, w Writer) error {
	root := e.users[Root]
	switch {
	case e.enabled && !r.Renews:
		return nil
	case root == nil:
		return command.ErrRootUserNotExist
	case !root.hasRole(Root):
		return command.ErrRootRoleNotExist
	}
	e.change()
	again := e.enabled
	e.enabled, e.tokenKey = true, slices.Clone(r.TokenKey)
	if again {
		return e.done(w)
	}
	return e.writeSettings(w)
}

// Do does r, a request of command.EncodeAuth, and returns its response with the header h. What it changes it writes to
// w. The error is one of etcd's, ErrTooManyUsers or ErrMalformed, and nothing was changed then, or it is one of w.
func (e *Edit) Do(r proto.Message, h *pb.ResponseHeader, w Writer) (resp proto.Message, err error) {
	switch r := r.(type) {
	case *pb.AuthDisableRequest:
		resp, err = &pb.AuthDisableResponse{Header: h}, e.disable(w)
	case *pb.AuthUserAddRequest:
		resp, err = &pb.AuthUserAddResponse{Header: h}, e.userAdd(r, w)
	case *pb.AuthUserDeleteRequest:
		resp, err = &pb.AuthUserDeleteResponse{Header: h}, e.userDelete(r, w)
	case *pb.AuthUserChangePasswordRequest:
		resp, err = &pb.AuthUserChangePasswordResponse{Header: h}, e.changePassword(r, w)
	case *pb.AuthUserGrantRoleRequest:
		resp, err = &pb.AuthUserGrantRoleResponse{Header: h}, e.grantRole(r, w)
	case *pb.AuthUserRevokeRoleRequest:
		resp, err = &pb.AuthUserRevokeRoleResponse{Header: h}, e.revokeRole(r, w)
	case *pb.AuthRoleAddRequest:
		resp, err = &pb.AuthRoleAddResponse{Header: h}, e.roleAdd(r, w)
	case *pb.AuthRoleDeleteRequest:
		resp, err = &pb.AuthRoleDeleteResponse{Header: h}, e.roleDelete(r, w)
	case *pb.AuthRoleGrantPermissionRequest:
		resp, err = &pb.AuthRoleGrantPermissionResponse{Header: h}, e.grantPermission(r, w)
	case *pb.AuthRoleRevokePermissionRequest:
		resp, err = &pb.AuthRoleRevokePermissionResponse{Header: h}, e.revokePermission(r, w)
	default:
		err = fmt.Errorf("%w: %T changes no users or roles", command.ErrMalformed, r)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (e *Edit) disable(w Writer) error {
	if !e.enabled {
		return nil
	}
	e.change()
	e.enabled = false
	return e.done(w)
}

// LossyJump is by how much the revision grows when a history goes on without what another one may have had behind it:
// more than any other changed, so that no token of that one is newer. A JWT has revisions up to 2^53 exactly.
const LossyJump = 1 << 32

// Jump moves the revision to where no history has come that was left behind. An unused state stays what it is.
func (e *Edit) Jump(w Writer) error {
	if !e.Used() {
		return nil
	}
	e.change()
	e.revision += LossyJump
	return e.writeSettings(w)
}

// change makes the state one that nobody else has.
func (e *Edit) change() {
	if !e.own {
		next := *e.State
		next.users, next.roles = maps.Clone(e.users), maps.Clone(e.roles)
		e.State, e.own = &next, true
	}
}

// done ends a change that has a revision of its own.
func (e *Edit) done(w Writer) error {
	e.revision++
	return e.writeSettings(w)
}

func (e *Edit) writeSettings(w Writer) error { return w.Auth(kindSettings, "", e.settings.encode()) }

// room says whether a change that adds so many bytes fits.
func (e *Edit) room(added int64) error {
	if added > 0 && e.bytes+added > MaxBytes {
		return command.ErrTooManyUsers
	}
	return nil
}

// putUser replaces a user. Others keep theirs.
func (e *Edit) putUser(u *authpb.User, w Writer) error {
	e.change()
	name := string(u.Name)
	e.bytes += userBytes(u) - userBytes(e.user(name))
	e.users[name] = &user{User: u}
	return w.Auth(kindUser, name, encodeRecord(u))
}

// putRole replaces a role. What it permits is found out anew for all who have it.
func (e *Edit) putRole(r *authpb.Role, w Writer) error {
	e.change()
	name := string(r.Name)
	e.bytes += roleBytes(r) - roleBytes(e.roles[name])
	e.roles[name] = r
	for _, u := range e.users {
		if u.hasRole(name) {
			e.users[string(u.Name)] = &user{User: u.User}
		}
	}
	return w.Auth(kindRole, name, encodeRecord(r))
}

// userBytes is what a user counts of MaxBytes.
func userBytes(u *authpb.User) int64 {
	if u == nil {
		return 0
	}
	n := recordBytes + len(u.Name) + len(u.Password)
	for _, role := range u.Roles {
		n += recordBytes + len(role)
	}
	return int64(n)
}

func roleBytes(r *authpb.Role) int64 {
	if r == nil {
		return 0
	}
	n := recordBytes + len(r.Name)
	for _, p := range r.KeyPermission {
		n += permissionBytes(p)
	}
	return int64(n)
}

func permissionBytes(p *authpb.Permission) int { return recordBytes + len(p.Key) + len(p.RangeEnd) }

// Resettle is Jump for a content that begins another life, told apart by salt: no token of before counts in it. All
// nodes that are given the same salt have the same key.
func (e *Edit) Resettle(salt []byte, w Writer) error {
	if !e.Used() {
		return nil
	}
	e.change()
	if len(e.tokenKey) > 0 {
		mac := hmac.New(sha256.New, e.tokenKey)
		mac.Write(salt)
		e.tokenKey = mac.Sum(nil)
	}
	return e.Jump(w)
}
