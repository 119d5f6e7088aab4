package sim

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// rights is who may do what: a model of what kv/auth keeps, as simple as these users and roles allow. It does not
// change once it stands beside a place.
type rights struct {
	enabled bool
	users   map[string][]string                          // their roles
	hashes  map[string]string                            // of their passwords
	roles   map[string]map[string]authpb.Permission_Type // what they permit, by room
}

// may reports whether a user may do something in a room.
func (r *rights) may(user, room string, kind authpb.Permission_Type) bool {
	if !r.enabled || r.isRoot(user) {
		return true
	}
	return slices.ContainsFunc(r.users[user], func(role string) bool {
		has, ok := r.roles[role][room]
		return ok && (has == kind || has == authpb.Permission_READWRITE)
	})
}

func (r *rights) isRoot(user string) bool { return slices.Contains(r.users[user], auth.Root) }

func (r *rights) clone() *rights {
	next := &rights{
		r.enabled, maps.Clone(r.users), maps.Clone(r.hashes), map[string]map[string]authpb.Permission_Type{},
	}
	for role, permits := range r.roles {
		next.roles[role] = maps.Clone(permits)
	}
	return next
}

// after returns the rights after a command of this user.
func (r *rights) after(user string, q proto.Message) *rights {
	if r.enabled && !r.isRoot(user) {
		return r
	}
	next := r.clone()
	switch q := q.(type) {
	case *pb.AuthEnableRequest:
		next.enabled = next.enabled || next.isRoot(auth.Root)
	case *pb.AuthUserAddRequest:
		if _, there := next.users[q.Name]; !there {
			next.users[q.Name], next.hashes[q.Name] = []string{}, q.HashedPassword
		}
	case *pb.AuthUserChangePasswordRequest:
		if _, there := next.users[q.Name]; there {
			next.hashes[q.Name] = q.HashedPassword
		}
	case *pb.AuthUserDeleteRequest:
		delete(next.users, q.Name)
	case *pb.AuthUserGrantRoleRequest:
		roles, there := next.users[q.User]
		_, known := next.roles[q.Role]
		if there && (known || q.Role == auth.Root) && !slices.Contains(roles, q.Role) {
			next.users[q.User] = append(slices.Clone(roles), q.Role)
		}
	case *pb.AuthUserRevokeRoleRequest:
		next.take(q.Name, q.Role)
	case *pb.AuthRoleAddRequest:
		if _, there := next.roles[q.Name]; !there {
			next.roles[q.Name] = map[string]authpb.Permission_Type{}
		}
	case *pb.AuthRoleDeleteRequest:
		delete(next.roles, q.Role)
		for name := range next.users {
			next.take(name, q.Role)
		}
	case *pb.AuthRoleGrantPermissionRequest:
		if permits, there := next.roles[q.Name]; there {
			permits[roomOf(q.Perm.Key)] = q.Perm.PermType
		}
	case *pb.AuthRoleRevokePermissionRequest:
		delete(next.roles[q.Role], roomOf([]byte(q.Key)))
	}
	return next
}

func (r *rights) take(user, role string) {
	if roles, there := r.users[user]; there {
		r.users[user] = slices.DeleteFunc(slices.Clone(roles), func(o string) bool { return o == role })
	}
}

// roomOf returns the room that a key is in, "" if it is in none.
func roomOf(key []byte) string {
	rest, ok := strings.CutPrefix(string(key), userKeys)
	room, _, _ := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return room
}

// ruled is what was true at a place.
type ruled struct {
	*rights
	revision uint64 // of users and roles, as the store counts
}

// checkUsers checks that nobody was told or changed anything who was not permitted to, in any region, and that nobody
// was refused who was (by the final history, and not by what the store says of it).
func (e *evidence) checkUsers(end *place, wrong report) {
	if e.guests == nil || e.guests.keeper == nil {
		return
	}
	at, err := ruledBy(end, wrong)
	if err != nil {
		wrong("users", "replaying the final history for users: %v", err)
		return
	}
	for _, g := range e.guests.list {
		for _, v := range g.visits {
			if v.data != "" {
				v.checkWrite(e.fleet.lineage, at, wrong)
			} else {
				v.checkRead(at, wrong)
			}
		}
	}
}

// ruledBy replays the final history, checks that no command took effect that was not permitted, and returns what was
// true at each of its places.
func ruledBy(end *place, wrong report) (map[*place]ruled, error) {
	s, err := newReplay()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	now := &rights{
		users: map[string][]string{}, hashes: map[string]string{},
		roles: map[string]map[string]authpb.Permission_Type{},
	}
	at := map[*place]ruled{}
	for _, p := range end.path() {
		before := s.Revision()
		if err := applyTo(s, p); err != nil {
			return nil, err
		}
		if p.data != "" {
			q := new(command.Request)
			if err := q.Decode([]byte(p.data)); err != nil {
				return nil, err
			}
			key := q.Put.Key
			if room := roomOf(key); room != "" && s.Revision() != before &&
				!now.may(q.Identity.User, room, authpb.Permission_WRITE) {
				wrong("users", "%q wrote %q at %v, and may not", q.Identity.User, key, p)
			}
			now = now.after(q.Identity.User, q.Message())
		}
		at[p] = ruled{now, s.Auth().Revision()}
	}
	now.compare(s.Auth(), wrong)
	return at, nil
}

// compare checks that the store's users are those of the model, at the end.
func (r *rights) compare(users *auth.State, wrong report) {
	if users.Enabled() != r.enabled {
		wrong("users", "users have to say who they are: %t in the store, %t by its history", users.Enabled(), r.enabled)
	}
	for _, user := range append([]string{auth.Root}, userNames...) {
		for _, room := range roleNames {
			key, end := rangeOf(room)
			id := auth.Identity{User: user, Revision: users.Revision()}
			reads := users.ReadRange(id, key, end) == nil
			writes := users.WriteKey(id, key) == nil
			if reads != r.may(user, room, authpb.Permission_READ) ||
				writes != r.may(user, room, authpb.Permission_WRITE) {
				wrong("users", "%q may read %s: %t, and write: %t, in the store, and not so by its history", user, room,
					reads, writes)
			}
		}
	}
}

// checkWrite looks at what came of a write, where the final history has it.
func (v visit) checkWrite(l *lineage, at map[*place]ruled, wrong report) {
	for _, p := range l.placesOf(v.data) {
		if _, ok := at[p]; !ok {
			continue
		}
		now := p.parent.ruledIn(at)
		may := now.may(v.user, v.room, authpb.Permission_WRITE)
		if v.err == nil && v.password != "" && now.enabled && now.hashes[v.user] != v.password {
			wrong("users", "%v, at %v, with a password that is his no more", v, p)
		}
		if v.err == nil && !may || errors.Is(v.err, command.ErrPermissionDenied) && may {
			wrong("users", "%v, at %v: %v, and he may: %t", v, p, v.err, may)
		}
	}
}

// ruledIn returns what was true at a place of the final history; before any command everything is permitted.
func (p *place) ruledIn(at map[*place]ruled) *rights {
	if r, ok := at[p]; ok {
		return r.rights
	}
	return &rights{}
}

// checkRead looks at a read: what was true at some place where the node was meanwhile has to permit it, or refuse it.
func (v visit) checkRead(at map[*place]ruled, wrong report) {
	otherwise := v.err != nil && !errors.Is(v.err, command.ErrPermissionDenied)
	if _, ok := at[v.to]; !ok || otherwise || !v.from.before(v.to) {
		return
	}
	for q := v.to; q != nil; q = q.parent {
		r, ok := at[q]
		same := !ok || !r.enabled || r.revision == v.revision
		if same && q.ruledIn(at).may(v.user, v.room, authpb.Permission_READ) == (v.err == nil) {
			return
		}
		if q == v.from {
			break
		}
	}
	wrong("users", "%v, between %v and %v: %v, and that was not so", v, v.from, v.to, v.err)
}
