package kv

import (
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

var hashed = base64.StdEncoding.EncodeToString([]byte("a hash"))

// change encodes a request that changes users or roles.
func change(r proto.Message) []byte {
	if _, ok := r.(*pb.AuthEnableRequest); ok {
		return command.EncodeAuthEnable(command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes)})
	}
	p, err := command.EncodeAuth(r)
	if err != nil {
		panic(err)
	}
	return p
}

func addUser(name string) []byte {
	return change(&pb.AuthUserAddRequest{Name: name, HashedPassword: hashed})
}

func grantRole(user, role string) []byte {
	return change(&pb.AuthUserGrantRoleRequest{User: user, Role: role})
}

func permit(role, key, end string) []byte {
	return change(&pb.AuthRoleGrantPermissionRequest{Name: role, Perm: &authpb.Permission{
		PermType: authpb.Permission_READWRITE, Key: []byte(key), RangeEnd: []byte(end),
	}})
}

// rooted are the commands after which root is, and alice may read and write [a, c).
func rooted() [][]byte {
	return [][]byte{
		addUser(auth.Root), grantRole(auth.Root, auth.Root), addUser("alice"),
		change(&pb.AuthRoleAddRequest{Name: "a"}), permit("a", "a", "c"), grantRole("alice", "a"),
	}
}

func enable() []byte { return change(&pb.AuthEnableRequest{}) }

// as is a command in a user's name, found out now.
func (n *node) as(user string, p []byte) []byte {
	return command.EncodeAs(command.Identity{User: user, Revision: n.Auth().Revision()}, p)
}

// refused returns why a command is refused, nil if it is done.
func (n *node) refused(p []byte) error {
	n.t.Helper()
	_, err := command.DecodePutResult(n.apply(p)[0])
	if errors.Is(err, command.ErrMalformed) {
		n.t.Errorf("command %x: %v", p, err)
	}
	return err
}

// state is everything that must be equal: what a fingerprint is of, and users and roles.
func (n *node) state() string { return n.fingerprint() + string(n.Auth().Append(nil)) }

func (n *node) revoked(id int64) []byte {
	return command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id})
}

// Where a command is applied it is checked again: who asks, whether that is still so, whether it may be done. The
// server's own decisions are not. A refused command changes nothing.
func TestCommandsAreCheckedWhereTheyAreApplied(t *testing.T) {
	n := newNode(t)
	n.apply(grant(7, 60), grant(8, 60), put("z", "1"))
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("y"), Lease: 8}))
	n.apply(rooted()...)
	expect(t, "while it is off", n.refused(put("z", "2")), nil)
	old := n.as("alice", put("a", "old"))
	n.apply(n.as("", change(&pb.AuthRoleAddRequest{Name: "b"})), enable())
	to := func(key string, lease int64) []byte {
		return command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: lease})
	}
	txn := func(ops ...*pb.RequestOp) []byte { return txnOf(ops...) }
	opTo := func(key string, lease int64) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte(key), Lease: lease},
		}}
	}
	alarm := command.EncodeAlarm(&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE})
	denied, nobody := command.ErrPermissionDenied, command.ErrUserEmpty
	for _, c := range []struct {
		what    string
		command []byte
		err     error
	}{
		{"nobody", put("a", "1"), nobody},
		{"nobody, a lease", to("a", 7), nobody},
		{"nobody compacts", compact(2), nobody},
		{"nobody grants", grant(9, 60), nobody},
		{"nobody revokes", n.revoked(7), nobody},
		{"nobody adds a user", addUser("bob"), nobody},
		{"nobody, once", command.EncodeAs(command.Identity{Revision: 1}, put("a", "1")), command.ErrAuthOldRevision},
		{"before the last change", old, command.ErrAuthOldRevision},
		{"a put", n.as("alice", put("a", "1")), nil},
		{"a put elsewhere", n.as("alice", put("c", "1")), denied},
		{"a delete", n.as("alice", del("a", "c")), nil},
		{"a delete of more", n.as("alice", del("a", "d")), denied},
		{"a put to a lease", n.as("alice", to("a", 7)), nil},
		{"a put to one's lease again", n.as("alice", to("b", 7)), nil},
		{"a put to another's lease", n.as("alice", to("b", 8)), denied},
		{"a put to no lease", n.as("alice", to("b", 99)), command.ErrLeaseNotFound},
		{"another's lease in a transaction", n.as("alice", txn(opTo("a", 7), opTo("b", 8))), denied},
		{"a transaction", n.as("alice", txn(opTo("a", 7))), nil},
		{"a revocation", n.as("alice", n.revoked(8)), denied},
		{"a compaction", n.as("alice", compact(2)), denied},
		{"a compaction of root's", n.as(auth.Root, compact(2)), nil},
		{"an alarm", n.as("alice", alarm), denied},
		{"an alarm of the server", command.EncodeOwn(alarm), nil},
		{"an expiry", command.EncodeLeaseExpiry(8, command.Alone), nil},
		{"a part of an expiry", command.EncodeLeaseExpiryPart(7, [][]byte{[]byte("a")}, command.Alone), nil},
		{"a user", n.as("alice", addUser("bob")), denied},
		{"root does anything", n.as(auth.Root, del("\x00", "\x00")), nil},
		{"root adds a user", n.as(auth.Root, addUser("bob")), nil},
		{"which made the others old", n.as("alice", put("a", "1")), command.ErrAuthOldRevision},
	} {
		before := n.state()
		if err := n.refused(c.command); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
		if c.err != nil && n.state() != before {
			t.Errorf("%s: it was refused, and changed something", c.what)
		}
	}
}

// What a command stands on is the password of its user, whatever the node that proposed it knew of users: whose was
// changed does nothing, not even as root, and the command is one of the history with that answer.
func TestCommandsStandOnAPassword(t *testing.T) {
	n := newNode(t)
	n.apply(append(rooted(), enable())...)
	standing := func(user string) command.Identity {
		basis, _ := n.Auth().Basis(user)
		return command.Identity{User: user, Revision: n.Auth().Revision(), Basis: basis, Present: true}
	}
	root, alice := standing(auth.Root), standing("alice")
	n.apply(n.as(auth.Root, change(&pb.AuthRoleAddRequest{Name: "b"})))
	expect(t, "after another change", n.refused(command.EncodeAs(alice, put("a", "1"))), nil)
	n.apply(n.as(auth.Root, change(&pb.AuthUserChangePasswordRequest{Name: auth.Root, HashedPassword: "bmV3"})))
	before := n.state()
	for what, p := range map[string][]byte{
		"a user": addUser("eve"), "a role": grantRole("alice", auth.Root), "compaction": compact(2),
		"disable": change(&pb.AuthDisableRequest{}), "enable": enable(), "lease": grant(9, 60), "put": put("a", "2"),
	} {
		if err := n.refused(command.EncodeAs(root, p)); !errors.Is(err, command.ErrAuthOldRevision) {
			t.Errorf("%s with a password of before: %v", what, err)
		}
	}
	expect(t, "what is there", n.state() == before, true)
	expect(t, "another one", n.refused(command.EncodeAs(alice, put("a", "3"))), nil)
	renew := command.EncodeAuthEnable(command.AuthEnable{
		TokenKey: []byte(strings.Repeat("k", command.TokenKeyBytes)), Renews: true,
	})
	expect(t, "enable again", n.refused(command.EncodeAs(standing(auth.Root), renew)), nil)
	old := n.refused(command.EncodeAs(alice, put("a", "4")))
	expect(t, "another one behind it", errors.Is(old, command.ErrAuthOldRevision), true)
}

// The commands of a batch see what those before them changed; the revision of the contents does not move with users.
func TestUsersChangeInsideABatch(t *testing.T) {
	n := newNode(t)
	n.apply(append(rooted(), enable())...)
	now := n.Auth().Revision()
	alice := command.Identity{User: "alice", Revision: now}
	results := n.apply(
		command.EncodeAs(alice, put("a", "1")),
		n.as(auth.Root, change(&pb.AuthUserRevokeRoleRequest{Name: "alice", Role: "a"})),
		command.EncodeAs(alice, put("a", "2")),
		command.EncodeAs(command.Identity{User: "alice", Revision: now + 1}, put("a", "3")),
		n.as(auth.Root, change(&pb.AuthDisableRequest{})),
		put("a", "4"),
	)
	for i, want := range []error{nil, nil, command.ErrAuthOldRevision, command.ErrPermissionDenied, nil, nil} {
		if _, err := command.DecodePutResult(results[i]); !errors.Is(err, want) {
			t.Errorf("command %d: %v, want %v", i, err, want)
		}
	}
	r, err := command.DecodeAuthResult(results[1], new(pb.AuthUserRevokeRoleResponse))
	if err != nil || r.Header.Revision != 2 {
		t.Errorf("%v, %v", r, err)
	}
	expect(t, "contents", n.get("a", 0), "4 c2 m3 v2")
	expect(t, "revision of users", n.Auth().Revision(), now+2)
	expect(t, "enabled", n.Auth().Enabled(), false)
}

// Users are part of the content wherever it goes: over a restart, a crash, a reign, in copies of both kinds and in
// branches, and back to what it was.
func TestUsersAreCarriedByWhatCarriesTheContent(t *testing.T) {
	fs := vfs.NewCrashableMem()
	n := openNode(t, fs)
	hash := hashString(n, 0)
	n.apply(rooted()...)
	if err := n.Checkpoint("early"); err != nil {
		t.Fatal(err)
	}
	early := n.state()
	at := n.metadata
	n.apply(enable(), n.as(auth.Root, put("a", "1")))
	n.begin(true)
	want := n.state()
	if hashString(n, 0) == hash || early == want || !n.Auth().Enabled() {
		t.Error("what was changed is not in the hash")
	}
	var archive strings.Builder
	if err := errors.Join(n.Sync(), n.SnapshotTo(&archive, nil), n.Checkpoint("late")); err != nil {
		t.Fatal(err)
	}
	crashed := openNode(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 1))}))
	expect(t, "after a crash", crashed.state(), want)
	other := newNode(t)
	other.apply(put("a", "1"), addUser("carol"))
	if err := other.Restore(strings.NewReader(archive.String()), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "restored", other.state(), want)
	expect(t, "checked after it", other.refused(put("a", "2")), command.ErrUserEmpty)

	b, err := n.Branch("early")
	if err != nil {
		t.Fatal(err)
	}
	batch := &replication.Batch{
		First: at.Position + 1, Metadata: &replication.Metadata{AppliedIndex: 99, Position: at.Position + 1},
		Commands: []replication.Command{{Data: addUser("dave")}},
	}
	if _, err := b.Apply(batch); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Checkpoint("branched"), b.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir   string
		check func(*auth.State) bool
	}{
		{"early", func(s *auth.State) bool { return !s.Enabled() && s.Revision() == 7 }},
		{"branched", func(s *auth.State) bool { return !s.Enabled() && s.Revision() == 8 }},
		{"late", func(s *auth.State) bool { return s.Enabled() && s.HasRole("alice", "a") }},
	} {
		if err := n.Install(c.dir, nil); err != nil {
			t.Fatal(err)
		}
		if !c.check(n.Auth()) {
			t.Errorf("%s: enabled %t, revision %d", c.dir, n.Auth().Enabled(), n.Auth().Revision())
		}
	}
	expect(t, "installed", n.state(), want)
	if err := errors.Join(n.Sync(), n.Close()); err != nil {
		t.Fatal(err)
	}
	expect(t, "after a restart", openNode(t, fs).state(), want)
}

// The hash of etcd's API, and that of a revision, are of keys alone; that of the content now is of users too, and is
// what it was before where there are none.
func TestHashesOfUsers(t *testing.T) {
	n, without := newNode(t), newNode(t)
	n.apply(put("a", "1"))
	without.apply(put("a", "1"))
	n.apply(rooted()...)
	type hash = func(ctx context.Context, rev int64) (uint32, int64, int64, error)
	for _, c := range []struct {
		what          string
		with, without hash
		rev           int64
		alike         bool
	}{
		{"content now", n.HashContent, without.HashContent, 0, true},
		{"content", n.HashContent, without.HashContent, 2, true},
		{"history", n.Hash, without.Hash, 2, true},
		{"everything now", n.Hash, without.Hash, 0, false},
	} {
		a, _, _, err := c.with(t.Context(), c.rev)
		b, _, _, failed := c.without(t.Context(), c.rev)
		if err != nil || failed != nil || (a == b) != c.alike {
			t.Errorf("%s: %x with users, %x without: %v, %v", c.what, a, b, err, failed)
		}
	}
}

// A change of users that no batch can hold is refused as any command is, and changes nothing.
func TestAChangeOfUsersThatIsTooLarge(t *testing.T) {
	n := newNode(t)
	n.apply(rooted()...)
	n.bounds = bounds{batchBytes: 3200, heldBytes: 1 << 30}
	before := n.state()
	large := n.refused(permit("a", strings.Repeat("k", 4000), ""))
	expect(t, "large", errors.Is(large, command.ErrEffectTooLarge), true)
	expect(t, "after it", n.state(), before)
	expect(t, "small", n.refused(permit("a", "k", "")), nil)
}

// A record that is not what was written is damage, and not another user.
func TestDamagedUsers(t *testing.T) {
	n := newNode(t)
	n.apply(rooted()...)
	b := n.current.Load().db.NewBatch()
	err := errors.Join(b.Set([]byte("Iualice\x00"), []byte("?"), nil), b.Commit(pebble.NoSync))
	if err = errors.Join(err, n.Sync(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{FS: n.fs, Dir: "store"}); !errors.Is(err, replication.ErrDamaged) {
		t.Errorf("opened: %v", err)
	}
}

// Where the history goes on without what another one may have had behind it, no token of that one is newer. A store in
// which there never were users stays what nodes of before make of it.
func TestALossyReignMakesTokensOld(t *testing.T) {
	n := newNode(t)
	n.begin(true)
	if n.Auth().Used() || len(n.Auth().Append(nil)) > 0 {
		t.Error("it is used without users")
	}
	n.apply(append(rooted(), enable())...)
	before := n.Auth().Revision()
	n.begin(false)
	expect(t, "without a loss", n.Auth().Revision(), before)
	n.begin(true)
	expect(t, "with a loss", n.Auth().Revision(), before+auth.LossyJump)
	old := command.EncodeAs(command.Identity{User: "alice", Revision: before + 9}, put("a", "1"))
	expect(t, "a right of a lost history", n.refused(old), error(command.ErrAuthOldRevision))
}
