package etcdapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// told returns the text of an error, "" for none.
func told(err error) string { return status.Convert(err).Message() }

const badToken = "etcdserver: invalid auth token"

// own changes users or roles as the primary does it elsewhere.
func (g *guarded) own(t *testing.T, r proto.Message) {
	t.Helper()
	c, err := command.EncodeAuth(r)
	if err != nil {
		t.Fatal(err)
	}
	c = command.EncodeOwn(c)
	receipt, err := g.Replicator.Propose(t.Context(), []*replication.Command{{Data: c}})
	if err != nil || receipt.Results[0][0] != 0 {
		t.Errorf("%v: %v", receipt, err)
	}
}

func grantTo(role, key string) *pb.AuthRoleGrantPermissionRequest {
	return &pb.AuthRoleGrantPermissionRequest{Name: role,
		Perm: &authpb.Permission{PermType: authpb.Permission_READWRITE, Key: []byte(key)}}
}

// A token ends with what it was given for, as in etcd: with the user, the password, and with authentication itself.
func TestTokensEndAsInEtcd(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	put := func(ctx context.Context) string {
		_, err := g.kv.Put(ctx, &pb.PutRequest{Key: a})
		return told(err)
	}
	ann := g.as(t, "ann", "pa55")
	g.own(t, grantTo("writer", "z"))
	if _, err := g.kv.Put(ann, &pb.PutRequest{Key: z}); err != nil {
		t.Errorf("a right that was given later: %v", err)
	}
	g.own(t, &pb.AuthRoleRevokePermissionRequest{Role: "writer", Key: z})
	if _, err := g.kv.Put(ann, &pb.PutRequest{Key: z}); told(err) != denied {
		t.Errorf("a right that was taken: %v", err)
	}
	root := g.as(t, "root", "r00t")
	another := &pb.AuthUserChangePasswordRequest{Name: "ann", Password: "n3w"}
	if _, err := g.auth.UserChangePassword(root, another); err != nil {
		t.Fatal(err)
	}
	if text := put(ann); text != badToken {
		t.Errorf("after another password: %q", text)
	}
	ann = g.as(t, "ann", "n3w")
	g.own(t, &pb.AuthUserDeleteRequest{Name: "ann"})
	if text := put(ann); text != badToken {
		t.Errorf("after the user was deleted: %q", text)
	}
	if _, err := g.auth.UserAdd(root, &pb.AuthUserAddRequest{Name: "ann", Password: "n3w"}); err != nil {
		t.Fatal(err)
	}
	if text := put(ann); text != badToken {
		t.Errorf("of a user who was deleted, and another one was added: %q", text)
	}
	if _, err := g.auth.AuthDisable(root, &pb.AuthDisableRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.auth.AuthEnable(bounded(t), &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	if text := put(root); text != badToken {
		t.Errorf("of before authentication was disabled: %q", text)
	}
}

// What was on its way while users or roles were changed is judged by what they are where it is applied: whoever still
// may does not hear of it, unless his token says by itself of when it is.
func TestAWriteIsJudgedAnew(t *testing.T) {
	key := []byte("a secret of the fleet and nobody else")
	jwts, err := token.NewJWT(token.Spec{Method: "HS256", PrivateFile: "k", TTL: time.Hour},
		func(string) ([]byte, error) { return key, nil }, clock.Real, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		tokens token.Tokens
		change proto.Message
		want   string
	}{
		{"still may", nil, &pb.AuthRoleAddRequest{Name: "other"}, ""},
		{"may no longer", nil, &pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "writer"}, denied},
		{"is no longer", nil, &pb.AuthUserDeleteRequest{Name: "ann"}, badToken},
		{"may with everybody", nil, &pb.AuthDisableRequest{}, ""},
		{"has a JWT", jwts, &pb.AuthRoleAddRequest{Name: "other"}, "etcdserver: revision of auth store is old"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := guard(t, etcdapi.Options{Tokens: test.tokens})
			ann := g.as(t, "ann", "pa55")
			held, release := g.Replicator.HoldWrites()
			answer := make(chan error, 1)
			go func() {
				_, err := g.kv.Put(ann, &pb.PutRequest{Key: a, Value: []byte("judged")})
				answer <- err
			}()
			await(t, "the put is held", func() bool { return held() == 1 })
			_, pass := g.Replicator.HoldWrites()
			pass() // what comes from now on passes by
			g.own(t, test.change)
			release()
			if err := <-answer; told(err) != test.want {
				t.Errorf("told %v, want %q", err, test.want)
			}
			got, err := g.Store.Range(t.Context(), &pb.RangeRequest{Key: a})
			if err != nil || (string(got.Kvs[0].Value) == "judged") != (test.want == "") {
				t.Errorf("the store has %v, %v", got, err)
			}
		})
	}
}

// A node that is behind refuses nobody for what it has not heard of yet.
func TestARefusalWaitsForThePrimary(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	ann := g.as(t, "ann", "pa55")
	for name, one := range map[string]struct {
		elsewhere proto.Message
		call
	}{
		"put":    {grantTo("writer", "x"), putOf(&pb.PutRequest{Key: []byte("x")})},
		"range":  {grantTo("writer", "y"), rangeOf(&pb.RangeRequest{Key: []byte("y")})},
		"delete": {grantTo("writer", "w"), deleteOf(&pb.DeleteRangeRequest{Key: []byte("w")})},
		"watch":  {grantTo("writer", "v"), watchOf("v")},
		"hash": {&pb.AuthUserGrantRoleRequest{User: "ann", Role: "root"},
			of(pb.NewMaintenanceClient, pb.MaintenanceClient.HashKV, &pb.HashKVRequest{})},
	} {
		var once sync.Once
		g.Replicator.AtBarriers(func() { once.Do(func() { g.own(t, one.elsewhere) }) })
		if err := one.call(ann, g.connection); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		g.Replicator.AtBarriers(nil)
		if name == "hash" {
			g.own(t, &pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "root"})
		}
	}
}

// wall is a clock that can be put forward.
type wall struct {
	clock.Clock
	ahead atomic.Int64
}

func (w *wall) Now() time.Time { return w.Clock.Now().Add(time.Duration(w.ahead.Load())) }

// A watch is judged when it is made, and goes on from then on; a stream goes on being that of who has begun it.
func TestAWatchIsJudgedWhenItIsMade(t *testing.T) {
	w := &wall{Clock: clock.Real}
	g := guard(t, etcdapi.Options{Clock: w, Tokens: token.NewSimple(time.Minute, w)})
	ann := g.as(t, "ann", "pa55")
	stream, err := pb.NewWatchClient(g.connection).Watch(ann)
	if err != nil {
		t.Fatal(err)
	}
	create := func(key string) *pb.WatchResponse {
		t.Helper()
		err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte(key)}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := create("z"); !r.Canceled || !r.Created || r.WatchId != -1 ||
		r.CancelReason != rpctypes.ErrGRPCPermissionDenied.Error() {
		t.Errorf("a watch of others: %v", r)
	}
	if r := create("a"); r.Canceled {
		t.Fatalf("a watch: %v", r)
	}
	w.ahead.Store(int64(time.Hour))
	if _, err := g.kv.Range(ann, &pb.RangeRequest{Key: a}); told(err) != badToken {
		t.Errorf("with a token that has expired: %v", err)
	}
	if r := create("aa"); r.Canceled {
		t.Errorf("on a stream that has outlived its token: %v", r)
	}
	g.own(t, &pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "writer"})
	if r := create("ab"); r.CancelReason != rpctypes.ErrGRPCPermissionDenied.Error() {
		t.Errorf("a watch of who may no longer: %v", r)
	}
	if _, err := g.kv.Put(g.as(t, "root", "r00t"), &pb.PutRequest{Key: a}); err != nil {
		t.Fatal(err)
	}
	if r, err := stream.Recv(); err != nil || len(r.Events) != 1 {
		t.Errorf("a watch that was there: %v, %v", r, err)
	}
}

// clientv3 renews what has ended by itself.
func TestClientsLogInAgain(t *testing.T) {
	w := &wall{Clock: clock.Real}
	g := guard(t, etcdapi.Options{Clock: w, Tokens: token.NewSimple(time.Minute, w)})
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{g.Endpoint}, Username: "ann", Password: "pa55", Logger: zap.NewNop(), Context: bounded(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if _, err := c.Put(bounded(t), "a", ""); err != nil {
			t.Error(err)
		}
		if _, err := c.Get(bounded(t), "a"); err != nil {
			t.Error(err)
		}
		w.ahead.Add(int64(time.Hour))
	}
	_, err = clientv3.New(clientv3.Config{
		Endpoints: []string{g.Endpoint}, Username: "ann", Password: "wrong", Logger: zap.NewNop(), Context: bounded(t)})
	if told(err) != "etcdserver: authentication failed, invalid user ID or password" {
		t.Errorf("with a wrong password: %v", err)
	}
}

// lines are those of a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Whoever tries passwords finds little in the log, and nobody finds a password there.
func TestFailedLoginsAreLogged(t *testing.T) {
	log := &lines{}
	verbose := slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})
	g := guard(t, etcdapi.Options{Logger: slog.New(verbose)})
	for i := range 50 {
		name := []string{"ann", "nobody", strings.Repeat("x", 1000)}[i%3]
		_, err := g.auth.Authenticate(bounded(t), &pb.AuthenticateRequest{Name: name, Password: fmt.Sprint("gu3ss", i)})
		if told(err) != "etcdserver: authentication failed, invalid user ID or password" {
			t.Fatalf("%s: %v", name, err)
		}
	}
	text := log.String()
	if n := strings.Count(text, "a login failed"); n == 0 || n > 2 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	for _, secret := range []string{"gu3ss", "pa55", "r00t", "$2a$", strings.Repeat("x", 100)} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q:\n%s", secret, text)
		}
	}
}

// The JSON gateway has the paths of etcd's, and takes the token from the header Authorization.
func TestAuthOverJSON(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	handler, err := g.API.HTTPHandler(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	post := func(path, token string, body any) (int, map[string]any) {
		t.Helper()
		text, _ := json.Marshal(body)
		r, _ := http.NewRequestWithContext(bounded(t), http.MethodPost, server.URL+path, bytes.NewReader(text))
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer := map[string]any{}
		if all, _ := io.ReadAll(response.Body); json.Unmarshal(all, &answer) != nil {
			t.Fatalf("%s: %s", path, all)
		}
		return response.StatusCode, answer
	}
	type m = map[string]any
	login := func() string {
		t.Helper()
		_, answer := post("/v3/auth/authenticate", "", m{"name": "root", "password": "r00t"})
		text, _ := answer["token"].(string)
		if text == "" {
			t.Fatalf("no token: %v", answer)
		}
		return text
	}
	root := login()
	for _, one := range []struct {
		path string
		body m
	}{
		{"user/add", m{"name": "bob", "password": "b"}}, {"user/get", m{"name": "bob"}}, {"user/list", nil},
		{"user/changepw", m{"name": "bob", "password": "c"}}, {"role/add", m{"name": "r"}},
		{"role/get", m{"role": "r"}},
		{"role/list", nil}, {"role/grant", m{"name": "r", "perm": m{"permType": "READ", "key": "YQ=="}}},
		{"user/grant", m{"user": "bob", "role": "r"}}, {"user/revoke", m{"name": "bob", "role": "r"}},
		{"role/revoke", m{"role": "r", "key": "YQ=="}}, {"role/delete", m{"role": "r"}},
		{"user/delete", m{"name": "bob"}},
		{"status", nil}, {"enable", nil},
	} {
		if one.body == nil {
			one.body = m{}
		}
		if code, answer := post("/v3/auth/"+one.path, "Bearer "+root, one.body); code != http.StatusOK {
			t.Errorf("%s: %d, %v", one.path, code, answer)
		}
	}
	if code, answer := post("/v3/kv/range", "", m{"key": "YQ=="}); code != http.StatusBadRequest ||
		answer["message"] != empty {
		t.Errorf("without a token: %d, %v", code, answer)
	}
	root = login() // to enable it again ended the other one
	if code, answer := post("/v3/kv/range", root, m{"key": "YQ=="}); code != http.StatusOK || answer["count"] != "1" {
		t.Errorf("with a token: %d, %v", code, answer)
	}
	if code, answer := post("/v3/auth/disable", root, m{}); code != http.StatusOK {
		t.Errorf("disable: %d, %v", code, answer)
	}
}

// As long as not all nodes of the fleet know of users, none is added; those who may not are told that first.
func TestUsersAreForFleetsThatKnowThem(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	g.Replicator.Misunderstand(fmt.Errorf("%w: node us-2 does not answer", replication.ErrNotReady))
	_, err := g.auth.RoleAdd(g.as(t, "root", "r00t"), &pb.AuthRoleAddRequest{Name: "r"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "us-2 does not answer") {
		t.Errorf("a change while somebody does not answer: %v", err)
	}
	g.Replicator.Misunderstand(fmt.Errorf("%w: %w: node us-2 is too old", replication.ErrNotReady,
		replication.ErrOldNode))
	_, err = g.auth.RoleAdd(g.as(t, "root", "r00t"), &pb.AuthRoleAddRequest{Name: "r"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "us-2 is too old") {
		t.Errorf("a change: %v", err)
	}
	if _, err = g.auth.RoleAdd(g.as(t, "ann", "pa55"), &pb.AuthRoleAddRequest{Name: "r"}); told(err) != denied {
		t.Errorf("of who may not: %v", err)
	}
	if _, err := g.kv.Put(g.as(t, "ann", "pa55"), &pb.PutRequest{Key: a}); err != nil {
		t.Errorf("a put: %v", err)
	}
}

// An election in another region does not refuse a change of users: it waits for its end.
func TestAChangeOfUsersWaitsForAnElection(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	g.Replicator.Misunderstand(fmt.Errorf("%w: no leader of region eu answers", replication.ErrNotReady))
	soon := time.AfterFunc(300*time.Millisecond, func() { g.Replicator.Misunderstand(nil) })
	defer soon.Stop()
	if _, err := g.auth.RoleAdd(g.as(t, "root", "r00t"), &pb.AuthRoleAddRequest{Name: "r"}); err != nil {
		t.Error(err)
	}
}
