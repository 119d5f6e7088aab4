package auth

import (
	"encoding/base64"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// maxHashBytes bounds the hash of a password: bcrypt's has 60 bytes.
const maxHashBytes = 1 << 10

// hashOf returns the hash that a request brings.
func hashOf(r interface {
	GetPassword() string
	GetHashedPassword() string
}) ([]byte, error) {
	if r.GetPassword() != "" && r.GetHashedPassword() == "" {
		// Each node would make another hash of it.
		return nil, fmt.Errorf("%w: a password that is not hashed", command.ErrMalformed)
	}
	hash, err := base64.StdEncoding.DecodeString(r.GetHashedPassword())
	if err != nil || len(hash) > maxHashBytes {
		return nil, command.ErrNoPasswordUser
	}
	return hash, nil
}

func checkName(name string) error {
	if len(name) > MaxNameBytes {
		return command.ErrTooManyUsers
	}
	return nil
}

func (e *Edit) userAdd(r *pb.AuthUserAddRequest, w Writer) (err error) {
	switch {
	case r.Name == "":
		return command.ErrUserEmpty
	case e.users[r.Name] != nil:
		return command.ErrUserAlreadyExist
	}
	u := &authpb.User{
		Name: []byte(r.Name), Options: &authpb.UserAddOptions{NoPassword: r.Options.GetNoPassword()},
	}
	if !u.Options.NoPassword {
		if u.Password, err = hashOf(r); err != nil {
			return err
		}
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	return e.replaceUser(u, w)
}

// replaceUser puts a user, if there is room for it, as a change with a revision of its own.
func (e *Edit) replaceUser(u *authpb.User, w Writer) error {
	if err := e.room(userBytes(u) - userBytes(e.user(string(u.Name)))); err != nil {
		return err
	}
	if err := e.putUser(u, w); err != nil {
		return err
	}
	return e.done(w)
}

func (e *Edit) userDelete(r *pb.AuthUserDeleteRequest, w Writer) error {
	u := e.user(r.Name)
	switch {
	case e.enabled && r.Name == Root:
		return command.ErrInvalidAuthMgmt
	case u == nil:
		return command.ErrUserNotFound
	}
	e.change()
	e.bytes -= userBytes(u)
	delete(e.users, r.Name)
	if err := w.Auth(kindUser, r.Name, nil); err != nil {
		return err
	}
	return e.done(w)
}

func (e *Edit) changePassword(r *pb.AuthUserChangePasswordRequest, w Writer) (err error) {
	u := e.user(r.Name)
	if u == nil {
		return command.ErrUserNotFound
	}
	next := &authpb.User{Name: u.Name, Roles: u.Roles, Options: u.Options}
	if !u.Options.GetNoPassword() {
		if next.Password, err = hashOf(r); err != nil {
			return err
		}
	}
	return e.replaceUser(next, w)
}

func (e *Edit) grantRole(r *pb.AuthUserGrantRoleRequest, w Writer) error {
	u := e.user(r.User)
	switch {
	case u == nil:
		return command.ErrUserNotFound
	case r.Role != Root && e.roles[r.Role] == nil:
		return command.ErrRoleNotFound
	}
	i, found := slices.BinarySearch(u.Roles, r.Role)
	if found {
		return nil
	}
	return e.replaceUser(withRoles(u, slices.Insert(slices.Clone(u.Roles), i, r.Role)), w)
}

func withRoles(u *authpb.User, roles []string) *authpb.User {
	return &authpb.User{Name: u.Name, Password: u.Password, Options: u.Options, Roles: roles}
}

// without returns a user without a role; the same if it has not got it.
func without(u *authpb.User, role string) *authpb.User {
	i, found := slices.BinarySearch(u.Roles, role)
	if !found {
		return u
	}
	return withRoles(u, slices.Delete(slices.Clone(u.Roles), i, i+1))
}

func (e *Edit) revokeRole(r *pb.AuthUserRevokeRoleRequest, w Writer) error {
	u := e.user(r.Name)
	switch {
	case e.enabled && r.Name == Root && r.Role == Root:
		return command.ErrInvalidAuthMgmt
	case u == nil:
		return command.ErrUserNotFound
	}
	next := without(u, r.Role)
	if next == u {
		return command.ErrRoleNotGranted
	}
	return e.replaceUser(next, w)
}
