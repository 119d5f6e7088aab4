package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// disk is a Writer that keeps records.
type disk map[string][]byte

func (d disk) Auth(kind byte, name string, record []byte) error {
	if key := string(kind) + name; record == nil {
		delete(d, key)
	} else {
		d[key] = record
	}
	return nil
}

func (d disk) load(t testing.TB) *State {
	t.Helper()
	l := NewLoad()
	for key, record := range d {
		if err := l.Add(key[0], key[1:], record); err != nil {
			t.Fatal(err)
		}
	}
	return l.State()
}

// store is what keeps a state in a test.
type store struct {
	t testing.TB
	Edit
	disk disk
}

func newStore(t testing.TB) *store { return &store{t, New().Edit(), disk{}} }

func (s *store) do(r proto.Message) error {
	if _, ok := r.(*pb.AuthEnableRequest); ok {
		return s.Enable(&command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes)}, s.disk)
	}
	resp, err := s.Do(r, &pb.ResponseHeader{Revision: 7}, s.disk)
	if err == nil && resp.(interface{ GetHeader() *pb.ResponseHeader }).GetHeader().GetRevision() != 7 {
		s.t.Errorf("%T has no header", resp)
	}
	return err
}

func (s *store) must(rs ...proto.Message) {
	s.t.Helper()
	for _, r := range rs {
		if err := s.do(r); err != nil {
			s.t.Fatalf("%T %v: %v", r, r, err)
		}
	}
}

var hashed = base64.StdEncoding.EncodeToString([]byte("a hash"))

func userAdd(name string) proto.Message {
	return &pb.AuthUserAddRequest{Name: name, HashedPassword: hashed, Options: &authpb.UserAddOptions{}}
}

func userDelete(name string) proto.Message { return &pb.AuthUserDeleteRequest{Name: name} }
func userPassword(name, hash string) proto.Message {
	return &pb.AuthUserChangePasswordRequest{Name: name, HashedPassword: hash}
}
func userGrant(name, role string) proto.Message {
	return &pb.AuthUserGrantRoleRequest{User: name, Role: role}
}
func userRevoke(name, role string) proto.Message {
	return &pb.AuthUserRevokeRoleRequest{Name: name, Role: role}
}
func roleAdd(name string) proto.Message    { return &pb.AuthRoleAddRequest{Name: name} }
func roleDelete(name string) proto.Message { return &pb.AuthRoleDeleteRequest{Role: name} }
func enable() proto.Message                { return &pb.AuthEnableRequest{} }
func disable() proto.Message               { return &pb.AuthDisableRequest{} }

func permission(kind authpb.Permission_Type, key, end string) *authpb.Permission {
	return &authpb.Permission{PermType: kind, Key: []byte(key), RangeEnd: []byte(end)}
}

func roleGrant(name string, kind authpb.Permission_Type, key, end string) proto.Message {
	return &pb.AuthRoleGrantPermissionRequest{Name: name, Perm: permission(kind, key, end)}
}

func roleRevoke(name, key, end string) proto.Message {
	return &pb.AuthRoleRevokePermissionRequest{Role: name, Key: []byte(key), RangeEnd: []byte(end)}
}

const (
	read  = authpb.Permission_READ
	write = authpb.Permission_WRITE
	both  = authpb.Permission_READWRITE
)

// rooted is a store in which root is, and alice with a role.
func rooted(t testing.TB) *store {
	s := newStore(t)
	s.must(userAdd(Root), roleAdd(Root), userGrant(Root, Root), userAdd("alice"), roleAdd("a"), userGrant("alice", "a"))
	return s
}

// Each change does what etcd's does, or is refused with etcd's error and changes nothing; the revision moves with it,
// or not.
func TestChangesFollowEtcd(t *testing.T) {
	long := strings.Repeat("n", MaxNameBytes+1)
	for _, c := range []struct {
		what    string
		enabled bool
		request proto.Message
		err     error
		moves   uint64 // of the revision
	}{
		{"add", false, userAdd("bob"), nil, 1},
		{"add without a name", false, userAdd(""), command.ErrUserEmpty, 0},
		{"add twice", false, userAdd("alice"), command.ErrUserAlreadyExist, 0},
		{"add with no hash", false, &pb.AuthUserAddRequest{Name: "bob", HashedPassword: "%"},
			command.ErrNoPasswordUser, 0},
		{"add with a password", false, &pb.AuthUserAddRequest{Name: "bob", Password: "p"}, command.ErrMalformed, 0},
		{"add without a password", false, &pb.AuthUserAddRequest{
			Name: "bob", HashedPassword: "%", Options: &authpb.UserAddOptions{NoPassword: true},
		}, nil, 1},
		{"add a long name", false, userAdd(long), command.ErrTooManyUsers, 0},
		{"delete", false, userDelete("alice"), nil, 1},
		{"delete nobody", false, userDelete("bob"), command.ErrUserNotFound, 0},
		{"delete root", false, userDelete(Root), nil, 1},
		{"delete root while enabled", true, userDelete(Root), command.ErrInvalidAuthMgmt, 0},
		{"password", true, userPassword("alice", hashed), nil, 1},
		{"password of nobody", true, userPassword("bob", hashed), command.ErrUserNotFound, 0},
		{"password that is no hash", true, userPassword("alice", "%"), command.ErrNoPasswordUser, 0},
		{"grant again", true, userGrant("alice", "a"), nil, 0},
		{"grant to nobody", true, userGrant("bob", "none"), command.ErrUserNotFound, 0},
		{"grant no role", true, userGrant("alice", "none"), command.ErrRoleNotFound, 0},
		{"grant root", true, userGrant("alice", Root), nil, 1},
		{"revoke", true, userRevoke("alice", "a"), nil, 1},
		{"revoke what is not granted", true, userRevoke("alice", Root), command.ErrRoleNotGranted, 0},
		{"revoke of nobody", true, userRevoke("bob", "a"), command.ErrUserNotFound, 0},
		{"revoke root", false, userRevoke(Root, Root), nil, 1},
		{"revoke root while enabled", true, userRevoke(Root, Root), command.ErrInvalidAuthMgmt, 0},
		{"add a role", true, roleAdd("b"), nil, 1},
		{"add a role without a name", true, roleAdd(""), command.ErrRoleEmpty, 0},
		{"add a role twice", true, roleAdd("a"), command.ErrRoleAlreadyExist, 0},
		{"add a role with a long name", true, roleAdd(long), command.ErrTooManyUsers, 0},
		{"delete a role", true, roleDelete("a"), nil, 1},
		{"delete no role", true, roleDelete("b"), command.ErrRoleNotFound, 0},
		{"delete the role root", false, roleDelete(Root), nil, 1},
		{"delete the role root while enabled", true, roleDelete(Root), command.ErrInvalidAuthMgmt, 0},
		{"permit", true, roleGrant("a", read, "k", ""), nil, 1},
		{"permit nothing", true, &pb.AuthRoleGrantPermissionRequest{Name: "b"}, command.ErrPermissionNotGiven, 0},
		{"permit no key", true, roleGrant("b", read, "", ""), command.ErrInvalidAuthMgmt, 0},
		{"permit from no key on", true, roleGrant("a", read, "", "\x00"), command.ErrInvalidAuthMgmt, 0},
		{"permit an empty range", true, roleGrant("a", read, "k", "k"), command.ErrInvalidAuthMgmt, 0},
		{"permit everything", true, roleGrant("a", read, "\x00", "\x00"), nil, 1},
		{"permit all from a key on", true, roleGrant("a", read, "k", "\x00"), nil, 1},
		{"permit no role", true, roleGrant("b", read, "k", ""), command.ErrRoleNotFound, 0},
		{"permit the role root", true, roleGrant(Root, read, "k", ""), nil, 1},
		{"forbid what is not permitted", true, roleRevoke("a", "k", ""), command.ErrPermissionNotGranted, 0},
		{"forbid no role", true, roleRevoke("b", "k", ""), command.ErrRoleNotFound, 0},
		{"enable", false, enable(), nil, 0},
		{"enable again", true, enable(), nil, 0},
		{"disable", true, disable(), nil, 1},
		{"disable again", false, disable(), nil, 0},
		{"something else", true, &pb.PutRequest{}, command.ErrMalformed, 0},
	} {
		s := rooted(t)
		if c.enabled {
			s.must(enable())
		}
		revision, before := s.Revision(), string(s.Append(nil))
		err := s.do(c.request)
		if !errors.Is(err, c.err) || s.Revision() != revision+c.moves {
			t.Errorf("%s: %v, revision %d after %d", c.what, err, s.Revision(), revision)
		}
		after := string(s.Append(nil))
		if err != nil && after != before {
			t.Errorf("%s: refused, and changed something", c.what)
		}
		if again := string(s.disk.load(t).Append(nil)); again != after {
			t.Errorf("%s: what was written is another state", c.what)
		}
	}
}

// Enabling needs a root that can do everything.
func TestEnableNeedsRoot(t *testing.T) {
	s := newStore(t)
	for _, c := range []struct {
		request proto.Message
		err     error
	}{
		{enable(), command.ErrRootUserNotExist}, {userAdd(Root), nil}, {enable(), command.ErrRootRoleNotExist},
		{userGrant(Root, Root), nil}, // the role need not exist
		{enable(), nil},
	} {
		if err := s.do(c.request); !errors.Is(err, c.err) {
			t.Errorf("%T: %v", c.request, err)
		}
	}
	if !s.Enabled() || len(s.TokenKey()) != command.TokenKeyBytes || !s.Used() || New().Used() {
		t.Errorf("enabled %t with a key of %d bytes", s.Enabled(), len(s.TokenKey()))
	}
	s.must(disable())
	if s.Enabled() || s.Revision() != 4 {
		t.Errorf("revision %d", s.Revision())
	}
}

// To enable again changes nothing, as in etcd, but for the key of tokens where that is said: what was made with it
// ends, and that is a change as others are.
func TestToEnableAgainRenewsTheKey(t *testing.T) {
	s := rooted(t)
	revision := uint64(7)
	again := func(key byte, renews bool) *State {
		t.Helper()
		s.Edit = s.State.Edit()
		r := &command.AuthEnable{TokenKey: bytes.Repeat([]byte{key}, command.TokenKeyBytes), Renews: renews}
		if err := s.Enable(r, s.disk); err != nil {
			t.Fatal(err)
		}
		kept := s.disk.load(t)
		if s.Revision() != revision || kept.Revision() != revision || !s.Enabled() ||
			s.TokenKey()[0] != kept.TokenKey()[0] {
			t.Errorf("revision %d, enabled %t, on disk another key", s.Revision(), s.Enabled())
		}
		return s.State
	}
	first := again(1, false)
	basis, _ := first.Basis("alice")
	alice := Identity{User: "alice", Revision: 7, Basis: basis, Present: true}
	if second := again(2, false); second.TokenKey()[0] != 1 || second.Stands(alice) != nil {
		t.Error("the key is another one without that")
	}
	revision++ // who somebody is is another matter now: what was read by the former key is not told
	third := again(3, true)
	if third.TokenKey()[0] != 3 || !errors.Is(third.Stands(alice), command.ErrAuthOldRevision) {
		t.Error("the key is the same")
	}
	if first.Stands(alice) != nil || first.TokenKey()[0] != 1 {
		t.Error("a state changed that was there")
	}
	other, _ := third.Basis("alice")
	root, _ := third.Basis(Root)
	if same, _ := s.disk.load(t).Basis("alice"); other == basis || other == root || same != other {
		t.Errorf("%x of another key is %x, of root %x, on another node %x", basis, other, root, same)
	}
	if _, ok := third.Basis("bob"); ok {
		t.Error("nobody has a basis")
	}
	if _, ok := rooted(t).Basis("alice"); ok {
		t.Error("there is a basis without a key")
	}
}

// The answers are in etcd's order; duplicates of a range are there where etcd makes them.
func TestAnswersFollowEtcd(t *testing.T) {
	s := rooted(t)
	s.must(
		roleAdd("b"), roleAdd("B"), userGrant("alice", "b"), userGrant("alice", "B"), userAdd("Zoe"),
		roleGrant("a", read, "k", ""), roleGrant("a", read, "c", "d"), roleGrant("a", write, "k", "z"),
		roleGrant("a", both, "k", ""), roleGrant("a", read, "k", "z"), roleRevoke("a", "c", "d"), enable(),
	)
	root := who(Root, s.Revision())
	users, err := s.UserList(root)
	expect(t, "users", fmt.Sprint(users.GetUsers(), err), "[Zoe alice root] <nil>")
	roles, err := s.RoleList(root)
	expect(t, "roles", fmt.Sprint(roles.GetRoles(), err), "[B a b root] <nil>")
	alice, err := s.UserGet(Identity{User: "alice"}, &pb.AuthUserGetRequest{Name: "alice"})
	expect(t, "alice", fmt.Sprint(alice.GetRoles(), err), "[B a b] <nil>")
	role := func(id Identity, name string) string {
		r, err := s.RoleGet(id, &pb.AuthRoleGetRequest{Role: name})
		text := ""
		for _, p := range r.GetPerm() {
			text += fmt.Sprintf("%v %q %q, ", p.PermType, p.Key, p.RangeEnd)
		}
		return fmt.Sprint(text, err)
	}
	expect(t, "a", role(Identity{User: "alice"}, "a"), `READWRITE "k" "", WRITE "k" "z", READ "k" "z", <nil>`)
	expect(t, "root", role(root, Root), `READWRITE "" "\x00", <nil>`)
	expect(t, "none", role(root, "none"), command.ErrRoleNotFound.Error())
	expect(t, "root, to alice", role(Identity{User: "alice"}, Root), command.ErrPermissionDenied.Error())
	expect(t, "a, to nobody", role(Identity{}, "a"), command.ErrUserEmpty.Error())
	_, err = s.UserGet(Identity{User: "alice"}, &pb.AuthUserGetRequest{Name: Root})
	expect(t, "root, to alice", err, command.ErrPermissionDenied)
	_, err = s.UserGet(root, &pb.AuthUserGetRequest{Name: "bob"})
	expect(t, "bob", err, command.ErrUserNotFound)
	_, err = s.UserList(Identity{User: "bob"})
	expect(t, "users, to one who does not exist", err, command.ErrUserNotFound)
	status := &pb.AuthStatusResponse{Enabled: true, AuthRevision: s.Revision()}
	expect(t, "status", proto.Equal(s.Status(), status), true)
	s.must(roleDelete("a"), userDelete("Zoe"))
	expect(t, "alice has a", s.HasRole("alice", "a"), false)
	expect(t, "alice has b", s.HasRole("alice", "b"), true)
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestPasswords(t *testing.T) {
	s := rooted(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, password string) error {
		rev, err := s.CheckPassword(name, password)
		if err == nil && rev != s.Revision() {
			t.Errorf("revision %d", rev)
		}
		return err
	}
	s.must(userPassword("alice", base64.StdEncoding.EncodeToString(hash)), &pb.AuthUserAddRequest{
		Name: "cert", Options: &authpb.UserAddOptions{NoPassword: true},
	}, userPassword("cert", base64.StdEncoding.EncodeToString(hash)))
	expect(t, "disabled", check("alice", "secret"), command.ErrAuthNotEnabled)
	s.must(enable())
	expect(t, "right", check("alice", "secret"), nil)
	expect(t, "wrong", check("alice", "secrets"), command.ErrAuthFailed)
	expect(t, "unknown", check("bob", "secret"), command.ErrAuthFailed)
	expect(t, "none", check("cert", "secret"), command.ErrNoPasswordUser)
	expect(t, "no hash", check(Root, "a hash"), command.ErrAuthFailed)
}

// What grows has a bound, and there is room again once something is deleted.
func TestUsersAreBounded(t *testing.T) {
	s := rooted(t)
	large := strings.Repeat("k", 3<<20)
	var err error
	for i := 0; err == nil; i++ {
		if err = s.do(roleGrant("a", read, fmt.Sprint(i, large), "")); i > 5 {
			t.Fatalf("%d permissions of 3 MiB each", i)
		}
	}
	expect(t, "full", err, command.ErrTooManyUsers)
	s.must(roleAdd("b"), userAdd("bob")) // small ones fit still
	s.must(roleRevoke("a", fmt.Sprint(3, large), ""), roleGrant("b", read, fmt.Sprint(3, large), ""))
	s.must(userDelete("bob"), roleDelete("a"), roleDelete("b"))
	if again := s.disk.load(t); again.bytes != s.bytes || s.bytes > 1000 {
		t.Errorf("%d bytes counted, %d when loaded", s.bytes, again.bytes)
	}
}

// A state that was published stays what it was.
func TestAStateDoesNotChange(t *testing.T) {
	s := rooted(t)
	s.must(roleGrant("a", read, "k", ""), enable())
	shown := s.State
	before := string(shown.Append(nil))
	next := shown.Edit()
	d := disk{}
	for _, r := range []proto.Message{
		roleGrant("a", both, "k", ""), userRevoke("alice", "a"), roleDelete("a"), userDelete("alice"), disable(),
	} {
		if _, err := next.Do(r, nil, d); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "records", string(shown.Append(nil)), before)
	expect(t, "alice reads", shown.ReadRange(who("alice", shown.Revision()), []byte("k"), nil), nil)
	expect(t, "enabled", next.Enabled(), false)
}
