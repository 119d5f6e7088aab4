package etcdapi_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
)

func (g *guarded) token(t *testing.T, user, password string) string {
	t.Helper()
	r, err := g.auth.Authenticate(bounded(t), &pb.AuthenticateRequest{Name: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return r.Token
}

// What decides on an operator's right hears of tokens, or of a certificate where all clients have one.
func TestRoot(t *testing.T) {
	g := guard(t, etcdapi.Options{CommonNames: true})
	ann, root := g.token(t, "ann", "pa55"), g.token(t, "root", "r00t")
	for _, one := range []struct {
		tokens           []string
		name, user, want string
	}{
		{[]string{"Bearer " + root}, "", "root", ""}, {nil, "root", "root", ""}, {[]string{ann}, "root", "", denied},
		{[]string{ann, root}, "ann", "root", ""}, {nil, "ann", "", denied}, {nil, "", "", empty},
		{[]string{"nonsense"}, "root", "", badToken},
	} {
		user, enabled, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: one.tokens, CommonName: one.name})
		if told(err) != one.want || err == nil && user != one.user || !enabled {
			t.Errorf("%+v: %q, %v, %v", one, user, enabled, err)
		}
	}
}

// A node that shows a past without users does not take everybody for root: there may be users in what it hides.
func TestNobodyIsRootWhereUsersMayBeHidden(t *testing.T) {
	n := etcdapitest.StartPlain(t)
	if _, enabled, err := n.API.Root(t.Context(), etcdapi.RootShown{}); enabled || err != nil || n.API.RootAsked() {
		t.Errorf("without users: %t, %v", enabled, err)
	}
	n.Replicator.Hide()
	if !n.API.RootAsked() {
		t.Error("everybody is told to be root")
	}
	_, enabled, err := n.API.Root(t.Context(), etcdapi.RootShown{Tokens: []string{"x"}})
	late := strings.Contains(told(err), "shows its history late")
	if !enabled || status.Code(err) != codes.FailedPrecondition || !late {
		t.Errorf("with hidden users: %t, %v", enabled, err)
	}
}

// Where the primary cannot be heard root logs in and is root; who is refused by what may be old is not refused for
// good; and forged tokens, however many, have the node ask once.
func TestRootWithoutAPrimary(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	g.Replicator.Cut()
	g.API.SetLimits(etcdapi.Limits{RequestTimeout: 200 * time.Millisecond}) // what waits for the primary waits in vain
	root := g.token(t, "root", "r00t")
	_, before := g.Replicator.Calls()
	if _, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: []string{root}, Fresh: true}); err != nil {
		t.Errorf("root: %v", err)
	}
	if _, after := g.Replicator.Calls(); after != before {
		t.Errorf("root waits for the primary")
	}
	for _, login := range []*pb.AuthenticateRequest{{Name: "root", Password: "x"}, {Name: "x", Password: "x"}} {
		if _, err := g.auth.Authenticate(bounded(t), login); status.Code(err) != codes.Unavailable {
			t.Errorf("%s with another password: %v", login.Name, err)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(root)
	if err != nil {
		t.Fatal(err)
	}
	raw[9]++ // its auth revision
	forged := base64.RawURLEncoding.EncodeToString(raw)
	_, before = g.Replicator.Calls()
	if _, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: []string{forged, forged, forged}}); err == nil {
		t.Error("a forged token is root's")
	}
	if _, after := g.Replicator.Calls(); after != before+1 {
		t.Errorf("forged tokens have the primary asked %d times", after-before)
	}
	ctx := metadata.AppendToOutgoingContext(bounded(t), "token", g.token(t, "ann", "pa55"))
	if err := watchOf("z")(ctx, g.connection); status.Code(err) != codes.Unavailable {
		t.Errorf("a watch that could not be judged: %v", err)
	}
	if err := watchOf("a")(ctx, g.connection); err != nil {
		t.Errorf("a watch that may be: %v", err)
	}
}

// An operator by a rule of the node does what root does beside keys, with whatever token he shows the rule.
func TestAnOperatorByARuleNeedsNoUser(t *testing.T) {
	ruled := func(ctx context.Context) bool {
		return len(metadata.ValueFromIncomingContext(ctx, "ruled")) > 0
	}
	g := guard(t, etcdapi.Options{Operator: ruled})
	ctx := metadata.AppendToOutgoingContext(bounded(t), "ruled", "yes", "token", "an operator's")
	if _, err := g.auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "r"}); err != nil {
		t.Errorf("a role: %v", err)
	}
	if _, err := g.auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", Password: "p"}); err != nil {
		t.Errorf("a user: %v", err)
	}
	if _, err := pb.NewMaintenanceClient(g.connection).HashKV(ctx, &pb.HashKVRequest{}); err != nil {
		t.Errorf("a hash: %v", err)
	}
	for _, action := range []pb.AlarmRequest_AlarmAction{pb.AlarmRequest_GET, pb.AlarmRequest_DEACTIVATE} {
		r := &pb.AlarmRequest{Action: action, Alarm: pb.AlarmType_NOSPACE}
		if _, err := pb.NewMaintenanceClient(g.connection).Alarm(ctx, r); err != nil {
			t.Errorf("alarms, %v: %v", action, err)
		}
	}
	if _, err := g.kv.Put(ctx, &pb.PutRequest{Key: a}); told(err) != badToken {
		t.Errorf("a put: %v", err)
	}
}

// A JWT of before the last change of users is none for a move, though it is one for what etcd has.
func TestAJWTForAMoveIsOfNow(t *testing.T) {
	key := []byte("a secret of the fleet and nobody else")
	jwts, err := token.NewJWT(token.Spec{Method: "HS256", PrivateFile: "k", TTL: time.Hour},
		func(string) ([]byte, error) { return key, nil }, clock.Real, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, etcdapi.Options{Tokens: jwts})
	sign := func(revision uint64) []string {
		claims := jwt.MapClaims{"username": "root", "revision": revision}
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return []string{text}
	}
	now := g.Store.Auth().Revision()
	for _, one := range []struct {
		revision uint64
		fresh    bool
		want     string
	}{{now, true, ""}, {now - 1, false, ""}, {now - 1, true, "etcdserver: revision of auth store is old"}} {
		_, _, err := g.API.Root(bounded(t), etcdapi.RootShown{Tokens: sign(one.revision), Fresh: one.fresh})
		if told(err) != one.want {
			t.Errorf("%+v: %v", one, err)
		}
	}
}

// A hash that a client made is refused if it would keep a processor busy at every login.
func TestAHashThatCostsTooMuch(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	hash := "$2a$20$" + strings.Repeat("a", 53)
	_, err := g.auth.UserChangePassword(g.as(t, "root", "r00t"), &pb.AuthUserChangePasswordRequest{
		Name: "ann", HashedPassword: base64.StdEncoding.EncodeToString([]byte(hash))})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
}
