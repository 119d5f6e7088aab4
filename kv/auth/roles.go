package auth

import (
	"bytes"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

func (e *Edit) roleAdd(r *pb.AuthRoleAddRequest, w Writer) error {
	switch {
	case r.Name == "":
		return command.ErrRoleEmpty
	case e.roles[r.Name] != nil:
		return command.ErrRoleAlreadyExist
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	return e.replaceRole(&authpb.Role{Name: []byte(r.Name)}, w)
}

// replaceRole is replaceUser for a role.
func (e *Edit) replaceRole(r *authpb.Role, w Writer) error {
	if err := e.room(roleBytes(r) - roleBytes(e.roles[string(r.Name)])); err != nil {
		return err
	}
	if err := e.putRole(r, w); err != nil {
		return err
	}
	return e.done(w)
}

// roleDelete takes the role from all who have it.
func (e *Edit) roleDelete(r *pb.AuthRoleDeleteRequest, w Writer) error {
	role := e.roles[r.Role]
	switch {
	case e.enabled && r.Role == Root:
		return command.ErrInvalidAuthMgmt
	case role == nil:
		return command.ErrRoleNotFound
	}
	e.change()
	e.bytes -= roleBytes(role)
	delete(e.roles, r.Role)
	if err := w.Auth(kindRole, r.Role, nil); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(e.users)) {
		if u := e.user(name); e.users[name].hasRole(r.Role) {
			if err := e.putUser(without(u, r.Role), w); err != nil {
				return err
			}
		}
	}
	return e.done(w)
}

// grantPermission looks, as etcd does, only at the first permission of a key for one to change. So a range whose key
// begins others too may be there twice; what it permits then is both.
func (e *Edit) grantPermission(r *pb.AuthRoleGrantPermissionRequest, w Writer) error {
	if r.Perm == nil {
		return command.ErrPermissionNotGiven
	}
	if !validRange(r.Perm.Key, r.Perm.RangeEnd) {
		return command.ErrInvalidAuthMgmt
	}
	role := e.roles[r.Name]
	if role == nil {
		return command.ErrRoleNotFound
	}
	one := &authpb.Permission{PermType: r.Perm.PermType, Key: r.Perm.Key, RangeEnd: r.Perm.RangeEnd}
	next := &authpb.Role{Name: role.Name, KeyPermission: slices.Clone(role.KeyPermission)}
	i, found := slices.BinarySearchFunc(next.KeyPermission, one.Key, compareKey)
	if found && bytes.Equal(next.KeyPermission[i].RangeEnd, one.RangeEnd) {
		next.KeyPermission[i] = one
		return e.replaceRole(next, w)
	}
	for i < len(next.KeyPermission) && bytes.Equal(next.KeyPermission[i].Key, one.Key) {
		i++
	}
	next.KeyPermission = slices.Insert(next.KeyPermission, i, one)
	return e.replaceRole(next, w)
}

func compareKey(p *authpb.Permission, key []byte) int { return bytes.Compare(p.Key, key) }

// validRange reports whether a permission may be of a range: it has a key, and ends behind it or nowhere.
func validRange(key, end []byte) bool {
	return len(key) > 0 && (len(end) == 0 || openEnded(end) || bytes.Compare(key, end) < 0)
}

func (e *Edit) revokePermission(r *pb.AuthRoleRevokePermissionRequest, w Writer) error {
	role := e.roles[r.Role]
	if role == nil {
		return command.ErrRoleNotFound
	}
	next := &authpb.Role{Name: role.Name}
	for _, p := range role.KeyPermission {
		if !bytes.Equal(p.Key, r.Key) || !bytes.Equal(p.RangeEnd, r.RangeEnd) {
			next.KeyPermission = append(next.KeyPermission, p)
		}
	}
	if len(next.KeyPermission) == len(role.KeyPermission) {
		return command.ErrPermissionNotGranted
	}
	return e.replaceRole(next, w)
}
