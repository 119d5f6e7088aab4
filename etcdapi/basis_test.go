package etcdapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

const oldRevision = "etcdserver: revision of auth store is old"

// isOld reports whether somebody was told that what he has shown is old where that cannot be known, and not in such a
// way that clients log in there once more.
func isOld(err error) bool {
	return status.Code(err) == codes.FailedPrecondition && strings.Contains(told(err), "log in at another region")
}

// anotherPassword gives a user a password that nobody knows.
func anotherPassword(user string) *pb.AuthUserChangePasswordRequest {
	return &pb.AuthUserChangePasswordRequest{Name: user, HashedPassword: "bmV3"}
}

// samePassword gives a user his password anew.
func samePassword(t *testing.T, user, password string) *pb.AuthUserChangePasswordRequest {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(hash)
	return &pb.AuthUserChangePasswordRequest{Name: user, HashedPassword: text}
}

// secretKey signs JWTs.
var secretKey = []byte("a secret of the fleet and nobody else")

func jwts(t *testing.T) token.Tokens {
	t.Helper()
	tokens, err := token.NewJWT(token.Spec{Method: "HS256", PrivateFile: "k", TTL: time.Hour},
		func(string) ([]byte, error) { return secretKey, nil }, clock.Real, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// order is what only root does, and what it comes to if he does it.
type order struct {
	call
	done string
}

func orders() map[string]order {
	users, cluster, maintain := pb.NewAuthClient, pb.NewClusterClient, pb.NewMaintenanceClient
	return map[string]order{
		"add a user": {of(users, pb.AuthClient.UserAdd, &pb.AuthUserAddRequest{Name: "eve", Password: "e"}), ""},
		"make root": {of(users, pb.AuthClient.UserGrantRole,
			&pb.AuthUserGrantRoleRequest{User: "ann", Role: "root"}), ""},
		"another password": {of(users, pb.AuthClient.UserChangePassword,
			&pb.AuthUserChangePasswordRequest{Name: "ann", Password: "e"}), ""},
		"compact": {of(pb.NewKVClient, pb.KVClient.Compact, &pb.CompactionRequest{Revision: 2}), ""},
		"an alarm": {of(maintain, pb.MaintenanceClient.Alarm,
			&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 9, Alarm: pb.AlarmType_NOSPACE}), ""},
		"revoke":   {of(pb.NewLeaseClient, pb.LeaseClient.LeaseRevoke, &pb.LeaseRevokeRequest{ID: 7}), ""},
		"snapshot": {of(maintain, pb.MaintenanceClient.Snapshot, &pb.SnapshotRequest{}), ""},
		"move the leader": {of(maintain, pb.MaintenanceClient.MoveLeader, &pb.MoveLeaderRequest{TargetID: 9}),
			"etcdserver: bad leader transferee"},
		"add a member": {of(cluster, pb.ClusterClient.MemberAdd, &pb.MemberAddRequest{}), badURLs},
		"remove a member": {of(cluster, pb.ClusterClient.MemberRemove, &pb.MemberRemoveRequest{ID: 9}),
			noMember},
		"promote a member": {of(cluster, pb.ClusterClient.MemberPromote, &pb.MemberPromoteRequest{ID: 9}),
			noMember},
		"update a member": {of(cluster, pb.ClusterClient.MemberUpdate, &pb.MemberUpdateRequest{}), badURLs},
	}
}

// lease grants the lease 7, with a key of others.
func (g *guarded) lease(t *testing.T) {
	t.Helper()
	g.ordered(t, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 1000}))
	g.ordered(t, command.EncodePut(&pb.PutRequest{Key: []byte("z7"), Lease: 7}))
}

// Whoever knows the password that root had is root nowhere where that is known, whatever a region that has not heard of
// it makes of him; and where it was not changed, root does through such a region what he does elsewhere.
func TestAnOldPasswordOfRoot(t *testing.T) {
	for _, changed := range []bool{true, false} {
		t.Run(fmt.Sprintf("changed %t", changed), func(t *testing.T) {
			g := guard(t, etcdapi.Options{CommonNames: true})
			g.lease(t)
			primary := g.Replicator.Late(t)
			if changed {
				g.own(t, anotherPassword("root"))
			} else {
				g.own(t, &pb.AuthRoleAddRequest{Name: "other"}) // by what is here root is of a revision of before
			}
			token := g.token(t, "root", "r00t") // by what is here
			root := metadata.AppendToOutgoingContext(bounded(t), "token", token)
			before := string(primary.Auth().Append(nil))
			for name, one := range orders() {
				err := one.call(root, g.connection)
				if changed && !isOld(err) || !changed && told(err) != one.done {
					t.Errorf("%s: %v, and root is told %q", name, err, one.done)
				}
			}
			_, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: []string{token}, Fresh: true, Sure: true})
			if changed != isOld(err) || !changed && err != nil {
				t.Errorf("an order of none of etcd's calls: %v", err)
			}
			_, _, err = g.API.Root(bounded(t), etcdapi.RootShown{CommonName: "root", Fresh: true, Sure: true})
			if err != nil {
				t.Errorf("by a certificate, which is of no password: %v", err)
			}
			if same := string(primary.Auth().Append(nil)) == before; same != changed {
				t.Errorf("users and roles are what they were: %t", same)
			}
			if alarms := len(primary.Alarms()); alarms > 0 == changed {
				t.Errorf("%d alarms", alarms)
			}
		})
	}
}

// A region that is behind for longer than anybody waits, and reaches the primary, has it say who is root, as one does
// that shows its history late.
func TestOrdersOfARegionThatIsBehind(t *testing.T) {
	writes := map[string]bool{}
	for name := range orders() {
		writes[name] = !strings.Contains(name, "member") && name != "snapshot" && name != "move the leader"
	}
	for _, changed := range []bool{true, false} {
		t.Run(fmt.Sprintf("changed %t", changed), func(t *testing.T) {
			g := guard(t, etcdapi.Options{CommonNames: true})
			etcdapi.SetOrderPatience(g.API, 300*time.Millisecond)
			token := g.token(t, "root", "r00t")
			root := metadata.AppendToOutgoingContext(bounded(t), "token", token)
			etcdapitest.Lag(t, g.Replicator)
			if changed {
				g.own(t, anotherPassword("root"))
			}
			g.Replicator.LoseAnswers(true) // as what keeps from writing keeps nobody from asking
			before, _ := etcdapitest.Proposals(g.Replicator)
			for name, one := range orders() {
				if writes[name] {
					continue // which is judged where it is applied
				}
				if err := one.call(root, g.connection); changed && !isOld(err) || !changed && told(err) != one.done {
					t.Errorf("%s: %v, and root is told %q", name, err, one.done)
				}
			}
			g.Replicator.Cut() // what waits for the primary waits in vain, and then there is time enough to ask it
			_, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: []string{token}, Fresh: true, Sure: true})
			if changed != isOld(err) || !changed && err != nil {
				t.Errorf("an order of none of etcd's calls: %v", err)
			}
			if now, _ := etcdapitest.Proposals(g.Replicator); len(now) != len(before) {
				t.Errorf("%d commands to ask who is root", len(now)-len(before))
			}
		})
	}
}

// An order of none of etcd's calls wants a token that is not old by what the primary has, also where that is not shown:
// of a JWT that was made elsewhere, which counts for etcd's calls.
func TestAnOldJWTOrdersNothingInALateRegion(t *testing.T) {
	g := guard(t, etcdapi.Options{Tokens: jwts(t), CommonNames: true})
	old := madeText(t, "root", g.Store)
	primary := g.Replicator.Late(t)
	g.own(t, &pb.AuthRoleAddRequest{Name: "other"})
	now := madeText(t, "root", primary)
	for what, c := range map[string]struct {
		shown etcdapi.RootShown
		old   bool
	}{
		"a JWT of before":            {etcdapi.RootShown{Tokens: []string{old}, Fresh: true}, true},
		"one that need not be fresh": {etcdapi.RootShown{Tokens: []string{old}}, false},
		"a JWT of now":               {etcdapi.RootShown{Tokens: []string{now}, Fresh: true}, false},
		"a certificate":              {etcdapi.RootShown{CommonName: "root", Fresh: true}, false},
	} {
		c.shown.Sure = true
		if _, _, err := g.API.Root(bounded(t), c.shown); isOld(err) != c.old || !c.old && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A region that shows its history late writes by what the primary has of users and roles: a change of them does not
// keep others from writing, a right that was given counts, and one that was taken does not. What it shows it shows by
// what it has.
func TestWritesOfALateRegionAreJudgedByThePrimary(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	ann := g.as(t, "ann", "pa55")
	g.Replicator.Late(t)
	want := func(what, key, text string) {
		t.Helper()
		if _, err := g.kv.Put(ann, &pb.PutRequest{Key: []byte(key)}); told(err) != text {
			t.Errorf("%s: %v, want %q", what, err, text)
		}
	}
	g.own(t, &pb.AuthRoleAddRequest{Name: "other"})
	want("after a change that is none of hers", "a", "")
	want("what is others'", "x", denied)
	g.own(t, grantTo("writer", "x"))
	want("what she was given", "x", "")
	if _, err := g.kv.Range(ann, &pb.RangeRequest{Key: []byte("x"), Serializable: true}); told(err) != denied {
		t.Errorf("what is shown is not told yet: %v", err)
	}
	if err := watchOf("x")(ann, g.connection); err == nil || !strings.HasSuffix(err.Error(), "permission denied") {
		t.Errorf("nor watched: %v", err)
	}
	g.own(t, &pb.AuthRoleRevokePermissionRequest{Role: "writer", Key: a, RangeEnd: []byte("b")})
	want("what was taken from her", "a", denied)
	g.own(t, anotherPassword("ann"))
	if _, err := g.kv.Put(ann, &pb.PutRequest{Key: []byte("x")}); !isOld(err) {
		t.Errorf("with another password: %v", err)
	}
	if _, err := g.kv.Put(bounded(t), &pb.PutRequest{Key: a}); told(err) != empty {
		t.Errorf("nobody: %v", err)
	}
	g.own(t, &pb.AuthDisableRequest{})
	want("everybody", "z", "")
}

// Of a JWT the revision counts, which is the primary's: one of what a late region shows is old, and one that was given
// elsewhere is not, also for who is not known here yet.
func TestJWTsInALateRegion(t *testing.T) {
	g := guard(t, etcdapi.Options{Tokens: jwts(t)})
	here := g.as(t, "ann", "pa55")
	primary := g.Replicator.Late(t)
	g.own(t, &pb.AuthUserAddRequest{Name: "bob", HashedPassword: "aGFzaA=="})
	g.own(t, &pb.AuthUserGrantRoleRequest{User: "bob", Role: "writer"})
	put := func(ctx context.Context, what, text string) {
		t.Helper()
		if _, err := g.kv.Put(ctx, &pb.PutRequest{Key: a}); told(err) != text {
			t.Errorf("%s: %v, want %q", what, err, text)
		}
	}
	if _, err := g.kv.Put(here, &pb.PutRequest{Key: a}); !isOld(err) {
		t.Errorf("of what is shown: %v", err)
	}
	put(made(t, "ann", primary), "of what is", "")
	put(made(t, "bob", primary), "of who is not shown yet", "")
	put(made(t, "eve", primary), "of nobody", denied)
}

// made returns a context with a JWT that was made elsewhere, by what a store has.
func made(t *testing.T, user string, by *kv.Store) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(bounded(t), "token", madeText(t, user, by))
}

func madeText(t *testing.T, user string, by *kv.Store) string {
	t.Helper()
	claims := jwt.MapClaims{"username": user, "revision": by.Auth().Revision()}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A JWT that a node gave counts for no more than the password that was shown for it, whether it could ask the primary
// or only believed that, as one does that was deposed and has not heard of it; one that was made elsewhere counts as in
// etcd.
func TestAJWTOfAnOldPasswordIsNotRoots(t *testing.T) {
	g := guard(t, etcdapi.Options{Tokens: jwts(t)})
	deposed, elsewhere := g.as(t, "root", "r00t"), made(t, "root", g.Store)
	g.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	behind := g.as(t, "root", "r00t")
	hash := of(pb.NewMaintenanceClient, pb.MaintenanceClient.HashKV, &pb.HashKVRequest{})
	add := func(ctx context.Context, name, want string) {
		t.Helper()
		if _, err := g.auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name}); told(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for name, ctx := range map[string]context.Context{"deposed": deposed, "behind": behind} {
		add(ctx, name, "")
		if err := hash(ctx, g.connection); err != nil {
			t.Errorf("%s, while it is the password: %v", name, err)
		}
	}
	g.Replicator.FailBarriers(nil)
	g.own(t, anotherPassword("root"))
	for name, ctx := range map[string]context.Context{"deposed once more": deposed, "behind once more": behind} {
		add(ctx, name, oldRevision)
		if err := hash(ctx, g.connection); told(err) != oldRevision {
			t.Errorf("%s, with a password of before: %v", name, err)
		}
		if _, err := pb.NewLeaseClient(g.connection).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 9}); err == nil {
			t.Errorf("%s: a lease is granted with a password of before", name)
		}
	}
	add(elsewhere, "as in etcd", "")
}

// What changes a region's members waits for the primary's word on who is root, if there are users; what an operator
// needs to get on without a primary does not.
func TestOrdersWithoutAPrimary(t *testing.T) {
	ruled := func(ctx context.Context) bool {
		return len(metadata.ValueFromIncomingContext(ctx, "ruled")) > 0
	}
	g := guard(t, etcdapi.Options{Operator: ruled})
	root := g.as(t, "root", "r00t")
	operator := metadata.AppendToOutgoingContext(bounded(t), "ruled", "yes")
	g.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	etcdapitest.FailAsks(g.Replicator, fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	for name, one := range orders() {
		switch {
		case strings.Contains(name, "member"):
			err := one.call(root, g.connection)
			if status.Code(err) != codes.Unavailable || !strings.Contains(told(err), "operator.token-file") {
				t.Errorf("%s: %v", name, err)
			}
		case name == "snapshot", name == "move the leader":
			if err := one.call(root, g.connection); told(err) != one.done {
				t.Errorf("%s: %v", name, err)
			}
		default:
			continue
		}
		if err := one.call(operator, g.connection); told(err) != one.done {
			t.Errorf("%s, by an operator: %v", name, err)
		}
	}
	token := g.token(t, "root", "r00t")
	if _, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: []string{token}, Sure: true}); err != nil {
		t.Errorf("root cannot order a failover: %v", err)
	}
	etcdapitest.FailAsks(g.Replicator, fmt.Errorf("%w: kind 3", replication.ErrRejected)) // as a leader of before
	if err := orders()["remove a member"].call(root, g.connection); !strings.Contains(told(err), "of before") {
		t.Errorf("members are changed by nobody's word: %v", err)
	}
	if err := orders()["snapshot"].call(root, g.connection); err != nil {
		t.Errorf("no snapshot: %v", err)
	}
}

// Whoever wants to change something about a member is asked for his right once.
func TestAChangeOfAMemberAsksOnce(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	root := g.as(t, "root", "r00t")
	etcdapitest.Lag(t, g.Replicator)
	for name, one := range orders() {
		if !strings.Contains(name, "member") {
			continue
		}
		if name == "update a member" {
			one = order{of(pb.NewClusterClient, pb.ClusterClient.MemberUpdate,
				&pb.MemberUpdateRequest{ID: 9, PeerURLs: []string{"http://x:1"}}), noMember}
		}
		before, _ := g.Replicator.Calls()
		err := one.call(root, g.connection)
		if now, _ := g.Replicator.Calls(); told(err) != one.done || now != before+1 {
			t.Errorf("%s: asked %d times, %v", name, now-before, err)
		}
	}
}

// Who hangs up while the primary is asked orders nothing: what he ordered may go on without him.
func TestWhoHangsUpOrdersNothing(t *testing.T) {
	for _, late := range []bool{false, true} {
		g := guard(t, etcdapi.Options{})
		token := g.token(t, "root", "r00t")
		if late {
			g.Replicator.Late(t)
		} else {
			etcdapitest.Lag(t, g.Replicator)
		}
		g.own(t, anotherPassword("root"))
		etcdapitest.FailAsks(g.Replicator, fmt.Errorf("%w: on purpose", replication.ErrNotReady))
		ctx, hangUp := context.WithCancel(bounded(t))
		g.Replicator.AtBarriers(hangUp)
		_, _, err := g.API.Root(ctx, etcdapi.RootShown{Tokens: []string{token}, Fresh: true, Sure: true})
		if status.Code(err) != codes.Canceled {
			t.Errorf("late %t: %v", late, err)
		}
	}
}
