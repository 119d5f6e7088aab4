package admin

import (
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// records drops what a state would write.
type records struct{}

func (records) Auth(byte, string, []byte) error { return nil }

// usersOf is a state in which root is, and alice may write a, with what changes it after.
func usersOf(t *testing.T, more ...proto.Message) *auth.State {
	t.Helper()
	e := auth.New().Edit()
	perm := &authpb.Permission{PermType: authpb.Permission_WRITE, Key: []byte("a")}
	for _, r := range append([]proto.Message{
		&pb.AuthUserAddRequest{Name: auth.Root}, &pb.AuthUserGrantRoleRequest{User: auth.Root, Role: auth.Root},
		&pb.AuthUserAddRequest{Name: "alice"}, &pb.AuthRoleAddRequest{Name: "r"},
		&pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: perm},
		&pb.AuthUserGrantRoleRequest{User: "alice", Role: "r"},
	}, more...) {
		if _, err := e.Do(r, nil, records{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Enable(&command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes)}, records{}); err != nil {
		t.Fatal(err)
	}
	return e.State
}

// TestWhatATailTellsOfWhoAsked: in whose name, what was refused, and what cannot be known; no hash of a password.
func TestWhatATailTellsOfWhoAsked(t *testing.T) {
	today := usersOf(t)
	as := func(user string, p []byte) []byte {
		return command.EncodeAs(command.Identity{User: user, Revision: today.Revision()}, p)
	}
	putTo := func(key string, lease int64) []byte {
		return command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: lease})
	}
	put := func(key string) []byte { return putTo(key, 0) }
	add, err := command.EncodeAuth(&pb.AuthUserAddRequest{Name: "bob", HashedPassword: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	keys := func(lease int64, visit func([]byte) error) error {
		if lease == 8 {
			return visit([]byte("b"))
		}
		return nil
	}
	standing := command.Identity{User: "alice", Revision: today.Revision(), Present: true}
	standing.Basis, _ = today.Basis("alice")
	other := standing
	other.Basis[0]++ // a password of before
	r := &rights{today: today, keys: keys}
	for _, c := range []struct {
		command              []byte
		op, user             string
		refused, doubt, text string
	}{
		{command: put("b"), op: "put"},
		{command: as("alice", put("a")), op: "put", user: "alice"},
		{command: as("alice", put("b")), op: "put", user: "alice", refused: "permission denied"},
		{command: as("alice", putTo("a", 7)), op: "put", user: "alice"},
		{command: as("alice", putTo("a", 8)), op: "put", user: "alice", refused: "permission denied"},
		{command: as("alice", add), op: "user-add", user: "alice", refused: "permission denied"},
		{command: command.EncodeAs(command.Identity{User: "alice", Revision: 2}, put("a")), op: "put", user: "alice",
			doubt: "were changed since"},
		{command: command.EncodeAs(standing, put("a")), op: "put", user: "alice"},
		{command: command.EncodeAs(standing, put("b")), op: "put", user: "alice", refused: "permission denied"},
		{command: command.EncodeAs(other, put("a")), op: "put", user: "alice", doubt: "were changed since"},
		{command: command.EncodeLeaseExpiry(7, command.Alone), op: "lease-expiry"},
		{command: as(auth.Root, add), op: "user-add", user: auth.Root, text: `"name":"bob"`},
		{command: as("alice", put("a")), op: "put", user: "alice", doubt: "before it in the tail"},
		{command: put("a"), op: "put", doubt: "before it in the tail"},
		{command: command.EncodeLeaseExpiry(7, command.Alone), op: "lease-expiry"},
	} {
		w, err := describe(1, 2, c.command)
		if err == nil {
			err = r.judge(w, c.command)
		}
		if err != nil || w.Op != c.op || w.User != c.user || !contains(w.Refused, c.refused) ||
			!contains(w.Doubt, c.doubt) || strings.Contains(string(w.Request), "hash") ||
			!strings.Contains(strings.ReplaceAll(string(w.Request), " ", ""), c.text) {
			t.Errorf("%x: %+v %s, %v", c.command, w, w.Request, err)
		}
	}
	for op, m := range changes {
		if got := ChangeOf(op); got == nil || got == m || opOfChange(got) != op {
			t.Errorf("%s is %T", op, got)
		}
	}
	if ChangeOf("put") != nil || opOfChange(&pb.PutRequest{}) != "" {
		t.Error("a put changes users")
	}
}

// contains reports whether a text has a part, or there is none if none is wanted.
func contains(text, part string) bool {
	return (part == "") == (text == "") && strings.Contains(text, part)
}
