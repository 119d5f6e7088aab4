package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"
)

// Foreign is users and roles that were kept elsewhere.
type Foreign struct {
	Users    []*authpb.User // with bcrypt's hashes
	Roles    []*authpb.Role
	Enabled  bool
	Revision uint64
}

// ErrForeign says that users and roles of elsewhere cannot be taken.
var ErrForeign = errors.New("kv: users and roles that cannot be taken")

// mostForeignRevision is more than changes of users and roles ever come to, and leaves room for all that follow:
// numbers up to 2^53 are exact in a JWT.
const mostForeignRevision = 1 << 48

// Adopt makes an unused state what f is. Tokens are signed with what comes of the hashes and of salt, so that all who
// are given the same agree on it, and nobody else can tell.
func (e *Edit) Adopt(f *Foreign, salt []byte, w Writer) error {
	if e.Used() {
		return fmt.Errorf("%w: there are some already", ErrForeign)
	}
	if f.Revision > mostForeignRevision {
		return fmt.Errorf("%w: their revision is %d, at most %d", ErrForeign, f.Revision, uint64(mostForeignRevision))
	}
	for _, r := range f.Roles {
		if err := checkForeign("role", r.GetName(), e.roles[string(r.GetName())] != nil); err != nil {
			return err
		}
		r = proto.CloneOf(r)
		slices.SortFunc(r.KeyPermission, func(a, b *authpb.Permission) int { return slices.Compare(a.Key, b.Key) })
		if err := e.putRole(r, w); err != nil {
			return err
		}
	}
	for _, u := range f.Users {
		if err := checkForeign("user", u.GetName(), e.users[string(u.GetName())] != nil); err != nil {
			return err
		}
		u = proto.CloneOf(u)
		if u.Options == nil {
			u.Options = &authpb.UserAddOptions{}
		}
		slices.Sort(u.Roles)
		u.Roles = slices.Compact(u.Roles)
		if err := e.putUser(u, w); err != nil {
			return err
		}
	}
	switch {
	case e.bytes > MaxBytes:
		return fmt.Errorf("%w: they take %d bytes, at most %d", ErrForeign, e.bytes, MaxBytes)
	case f.Enabled && !e.HasRole(Root, Root):
		return fmt.Errorf("%w: authentication is on, and no user %s has the role %s", ErrForeign, Root, Root)
	}
	e.change()
	e.enabled, e.revision = f.Enabled, max(f.Revision, FirstRevision)
	if f.Enabled {
		e.tokenKey = e.foreignKey(salt)
	}
	if !e.Used() {
		return nil
	}
	return e.writeSettings(w)
}

func checkForeign(what string, name []byte, known bool) error {
	if len(name) == 0 || known {
		return fmt.Errorf("%w: a %s %q twice, or without a name", ErrForeign, what, name)
	}
	if !utf8.Valid(name) { // it could be told to nobody, and asked for by nobody
		return fmt.Errorf("%w: a %s has the name %q, which is no UTF-8: delete it there", ErrForeign, what, name)
	}
	if checkName(string(name)) != nil {
		return fmt.Errorf("%w: a %s has a name of %d bytes, at most %d", ErrForeign, what, len(name), MaxNameBytes)
	}
	return nil
}

func (e *Edit) foreignKey(salt []byte) []byte {
	secret := sha256.New()
	for _, u := range e.AllUsers() {
		secret.Write(encodeRecord(u))
	}
	mac := hmac.New(sha256.New, secret.Sum(nil))
	mac.Write(salt)
	return mac.Sum(nil)
}

// AllUsers returns the users in order. They must not be changed.
func (s *State) AllUsers() (all []*authpb.User) {
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		all = append(all, s.users[name].User)
	}
	return all
}

// AllRoles returns the roles in order. They must not be changed.
func (s *State) AllRoles() (all []*authpb.Role) {
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		all = append(all, s.roles[name])
	}
	return all
}
