package auth

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// letters are the keys of the model. Between two of them lies everything that begins with the first.
const letters = 8

// area is what a range holds of the model's keys: the key i is at 2i, and what lies behind it at 2i+1.
type area [2 * letters]bool

func key(i int) []byte { return []byte{'a' + byte(i)} }

// areaOf is the area of a key, or of a range that ends before a key, or of one that has no end (letters and above).
func areaOf(i, end int) (a area) {
	switch {
	case end < 0:
		a[2*i] = true
	default:
		for k := 2 * i; k < 2*min(end, letters); k++ {
			a[k] = true
		}
	}
	return a
}

func endOf(end int) []byte {
	switch {
	case end < 0:
		return nil
	case end >= letters:
		return []byte{0}
	}
	return key(end)
}

// granted is a permission of the model.
type granted struct {
	i, end int
	kind   authpb.Permission_Type
}

// model is who may do what, as simple as it can be said.
type model struct {
	enabled  bool
	revision uint64
	users    map[string]map[string]bool // their roles
	roles    map[string][]granted
}

func (m *model) admin(u string) error {
	switch roles, ok := m.users[u]; {
	case !m.enabled:
		return nil
	case !ok:
		return command.ErrUserNotFound
	case !roles[Root]:
		return command.ErrPermissionDenied
	}
	return nil
}

func (m *model) may(u string, rev uint64, i, end int, kind authpb.Permission_Type) error {
	if !m.enabled {
		return nil
	}
	if rev < m.revision {
		return command.ErrAuthOldRevision
	}
	if m.users[u][Root] {
		return nil
	}
	var have area
	for role := range m.users[u] {
		for _, g := range m.roles[role] {
			for k, in := range areaOf(g.i, g.end) {
				have[k] = have[k] || in && (g.kind == kind || g.kind == both)
			}
		}
	}
	for k, in := range areaOf(i, end) {
		if in && !have[k] {
			return command.ErrPermissionDenied
		}
	}
	return nil
}

func (m *model) moved() error { m.revision++; return nil }

// step draws a change, does it to the model, and returns it with the error that the model has for it.
func (m *model) step(r *rand.Rand) (proto.Message, error) {
	u, role := fmt.Sprint("u", r.IntN(4)), fmt.Sprint("r", r.IntN(4))
	if r.IntN(6) == 0 {
		u = Root
	}
	if r.IntN(6) == 0 {
		role = Root
	}
	_, isUser := m.users[u]
	_, isRole := m.roles[role]
	switch n := r.IntN(12); {
	case n == 0:
		return m.enable(isOf(m.users, Root))
	case n == 1 && r.IntN(6) == 0:
		return disable(), m.disable()
	case n <= 2:
		return userAdd(u), first(isUser, command.ErrUserAlreadyExist, func() { m.users[u] = map[string]bool{} }, m)
	case n == 3 && m.enabled && u == Root:
		return userDelete(u), command.ErrInvalidAuthMgmt
	case n == 3:
		return userDelete(u), first(!isUser, command.ErrUserNotFound, func() { delete(m.users, u) }, m)
	case n <= 5:
		return userGrant(u, role), m.grant(u, role, isUser, isRole)
	case n == 6:
		return userRevoke(u, role), m.revoke(u, role, isUser)
	case n == 7:
		return roleAdd(role), first(isRole, command.ErrRoleAlreadyExist, func() { m.roles[role] = nil }, m)
	case n == 8 && r.IntN(3) == 0:
		return roleDelete(role), m.roleDelete(role, isRole)
	}
	g := granted{r.IntN(letters), -1, authpb.Permission_Type(r.IntN(3))}
	if r.IntN(3) > 0 {
		g.end = g.i + 1 + r.IntN(letters)
	}
	if g.end > letters {
		g.end = letters
	}
	if r.IntN(4) == 0 {
		return roleRevoke(role, string(key(g.i)), string(endOf(g.end))), m.forbid(role, g, isRole)
	}
	return roleGrant(role, g.kind, string(key(g.i)), string(endOf(g.end))), m.permit(role, g, isRole)
}

func isOf[V any](all map[string]V, name string) bool { _, ok := all[name]; return ok }

func first(refused bool, err error, change func(), m *model) error {
	if refused {
		return err
	}
	change()
	return m.moved()
}

func (m *model) enable(root bool) (proto.Message, error) {
	switch {
	case m.enabled:
	case !root:
		return enable(), command.ErrRootUserNotExist
	case !m.users[Root][Root]:
		return enable(), command.ErrRootRoleNotExist
	}
	m.enabled = true
	return enable(), nil
}

func (m *model) disable() error {
	if m.enabled {
		m.enabled = false
		m.revision++
	}
	return nil
}

func (m *model) grant(u, role string, isUser, isRole bool) error {
	switch {
	case !isUser:
		return command.ErrUserNotFound
	case role != Root && !isRole:
		return command.ErrRoleNotFound
	case m.users[u][role]:
		return nil
	}
	m.users[u][role] = true
	return m.moved()
}

func (m *model) revoke(u, role string, isUser bool) error {
	switch {
	case m.enabled && u == Root && role == Root:
		return command.ErrInvalidAuthMgmt
	case !isUser:
		return command.ErrUserNotFound
	case !m.users[u][role]:
		return command.ErrRoleNotGranted
	}
	delete(m.users[u], role)
	return m.moved()
}

func (m *model) roleDelete(role string, isRole bool) error {
	switch {
	case m.enabled && role == Root:
		return command.ErrInvalidAuthMgmt
	case !isRole:
		return command.ErrRoleNotFound
	}
	delete(m.roles, role)
	for _, roles := range m.users {
		delete(roles, role)
	}
	return m.moved()
}

func (m *model) permit(role string, g granted, isRole bool) error {
	if !isRole {
		return command.ErrRoleNotFound
	}
	// Of those with the key, which are in the order in which they came, only the first is looked at.
	i := slices.IndexFunc(m.roles[role], func(o granted) bool { return o.i == g.i })
	if i >= 0 && m.roles[role][i].end == g.end {
		m.roles[role][i] = g
	} else {
		m.roles[role] = append(m.roles[role], g)
	}
	return m.moved()
}

func (m *model) forbid(role string, g granted, isRole bool) error {
	if !isRole {
		return command.ErrRoleNotFound
	}
	before := len(m.roles[role])
	m.roles[role] = slices.DeleteFunc(m.roles[role], func(o granted) bool { return o.i == g.i && o.end == g.end })
	if len(m.roles[role]) == before {
		return command.ErrPermissionNotGranted
	}
	return m.moved()
}

// Random histories leave what a model leaves that does it the long way, in memory and on disk: who has which roles, and
// who may read and write what.
func TestRandomHistoriesFollowTheModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := newStore(t)
		m := &model{revision: FirstRevision, users: map[string]map[string]bool{}, roles: map[string][]granted{}}
		if seed%2 == 0 { // so that it is enabled soon
			s.must(userAdd(Root), userGrant(Root, Root))
			m.users[Root], m.revision = map[string]bool{Root: true}, m.revision+2
		}
		enabled := 0
		for n := range 300 {
			request, want := m.step(r)
			if r.IntN(3) == 0 {
				s.Edit = s.State.Edit() // as a batch ends
			}
			if err := s.do(request); !errors.Is(err, want) {
				t.Fatalf("seed %d, %d: %T %v: %v, the model has %v", seed, n, request, request, err, want)
			}
			state := s.State
			if r.IntN(10) == 0 {
				state = s.disk.load(t)
			}
			if m.enabled {
				enabled++
			}
			m.compare(t, r, state, fmt.Sprintf("seed %d, %d, after %T %v", seed, n, request, request))
		}
		if seed == 0 && enabled < 20 {
			t.Errorf("enabled for %d steps only", enabled)
		}
	}
}

func (m *model) compare(t *testing.T, r *rand.Rand, s *State, what string) {
	t.Helper()
	if s.Enabled() != m.enabled || s.Revision() != m.revision || len(s.users) != len(m.users) ||
		len(s.roles) != len(m.roles) {
		t.Fatalf("%s: enabled %t, revision %d, the model %t, %d", what, s.Enabled(), s.Revision(), m.enabled,
			m.revision)
	}
	for name, roles := range m.users {
		got, err := s.UserGet(Identity{User: name}, &pb.AuthUserGetRequest{Name: name})
		if want := slices.Sorted(maps.Keys(roles)); err != nil || !slices.Equal(got.Roles, want) {
			t.Fatalf("%s: %s has %v, %v, in the model %v", what, name, got.GetRoles(), err, want)
		}
	}
	for range 20 {
		u, rev := fmt.Sprint("u", r.IntN(5)), m.revision-uint64(r.IntN(2)&r.IntN(2))
		i, end := r.IntN(letters), -1
		if r.IntN(2) == 0 {
			end = i + 1 + r.IntN(letters)
		}
		if rev == 0 {
			continue
		}
		id := who(u, rev)
		for kind, request := range map[authpb.Permission_Type]proto.Message{
			read:  &pb.RangeRequest{Key: key(i), RangeEnd: endOf(end)},
			write: &pb.DeleteRangeRequest{Key: key(i), RangeEnd: endOf(end)},
		} {
			if got, want := s.Check(id, request, nil), m.may(u, rev, i, end, kind); !errors.Is(got, want) {
				t.Fatalf("%s: %s %v %v: %v, in the model %v", what, u, kind, request, got, want)
			}
		}
		if got, want := s.Admin(id), m.admin(u); !errors.Is(got, want) {
			t.Fatalf("%s: %s is root: %v, in the model %v", what, u, got, want)
		}
	}
}
