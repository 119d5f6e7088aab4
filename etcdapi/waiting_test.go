package etcdapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// keys returns those of queue "a", as the store has them.
func (g *guarded) keys(t *testing.T) (all []string) {
	t.Helper()
	r, err := g.Store.Range(t.Context(), &pb.RangeRequest{Key: []byte("a/"), RangeEnd: []byte("a0")})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		all = append(all, string(kv.Key))
	}
	return all
}

// unlock deletes a key as the primary does it elsewhere.
func (g *guarded) unlock(t *testing.T, key string) {
	t.Helper()
	c := command.EncodeOwn(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte(key)}))
	if _, err := g.Replicator.Propose(t.Context(), []*replication.Command{{Data: c}}); err != nil {
		t.Fatal(err)
	}
}

// Who waits for longer than what he has shown counts gets his turn as the user that he is, if he still may; and whoever
// does not get it leaves nothing, whoever he was.
func TestAWaitOutlivesItsToken(t *testing.T) {
	for _, test := range []struct {
		name   string
		jwt    bool
		change []proto.Message
		want   string
	}{
		{"still may", false, []proto.Message{&pb.AuthRoleAddRequest{Name: "other"}}, ""},
		{"still may, with a JWT", true, []proto.Message{&pb.AuthRoleAddRequest{Name: "other"}}, ""},
		{"everybody may", false, []proto.Message{&pb.AuthDisableRequest{}}, ""},
		{"may no longer", false, []proto.Message{&pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "writer"}}, denied},
		{"is no longer", true, []proto.Message{&pb.AuthUserDeleteRequest{Name: "ann"}}, badToken},
		{"is another one", true, []proto.Message{&pb.AuthUserDeleteRequest{Name: "ann"},
			&pb.AuthUserAddRequest{Name: "ann", HashedPassword: "aGFzaA=="},
			&pb.AuthUserGrantRoleRequest{User: "ann", Role: "writer"}}, badToken},
		{"hangs up", false, nil, "context canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &wall{Clock: clock.Real}
			o := etcdapi.Options{Clock: w, Tokens: token.NewSimple(time.Minute, w)}
			if test.jwt {
				key := []byte("a secret of the fleet and nobody else")
				jwts, err := token.NewJWT(token.Spec{Method: "HS256", PrivateFile: "k", TTL: time.Minute},
					func(string) ([]byte, error) { return key, nil }, w, slog.Default())
				if err != nil {
					t.Fatal(err)
				}
				o.Tokens = jwts
			}
			g := guard(t, o)
			ctx, hangUp := context.WithCancel(g.as(t, "ann", "pa55"))
			defer hangUp()
			for id := range int64(3) {
				if _, err := pb.NewLeaseClient(g.connection).LeaseGrant(ctx,
					&pb.LeaseGrantRequest{ID: id + 1, TTL: 3600}); err != nil {
					t.Fatal(err)
				}
			}
			lock, election := v3lockpb.NewLockClient(g.connection), v3electionpb.NewElectionClient(g.connection)
			if _, err := lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("a"), Lease: 1}); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 2)
			go func() {
				_, err := lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("a"), Lease: 2})
				ended <- err
			}()
			await(t, "a lock waits", func() bool { return len(g.keys(t)) == 2 })
			if test.want != "" {
				go func() {
					_, err := election.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("a"), Lease: 3})
					ended <- err
				}()
				await(t, "a candidate waits", func() bool { return len(g.keys(t)) == 3 })
			}
			w.ahead.Store(int64(time.Hour))
			if _, err := g.kv.Put(ctx, &pb.PutRequest{Key: a}); told(err) != badToken {
				t.Fatalf("with a token that has expired: %v", err)
			}
			for _, change := range test.change {
				g.own(t, change)
			}
			left := 0
			if test.change == nil {
				hangUp()
				left = 1
			} else {
				g.unlock(t, "a/1")
			}
			if err := <-ended; told(err) != test.want {
				t.Errorf("the lock: %v, want %q", err, test.want)
			}
			if test.want == "" {
				if got := fmt.Sprint(g.keys(t)); got != "[a/2]" {
					t.Errorf("the keys are %s", got)
				}
				return
			}
			if err := <-ended; told(err) != test.want {
				t.Errorf("the candidate: %v, want %q", err, test.want)
			}
			await(t, "they leave nothing", func() bool { return len(g.keys(t)) == left })
		})
	}
}

// Who looks on at an election goes on doing so, over every change of the leader, until he may not.
func TestAnObserverOutlivesItsToken(t *testing.T) {
	w := &wall{Clock: clock.Real}
	g := guard(t, etcdapi.Options{Clock: w, Tokens: token.NewSimple(time.Minute, w)})
	ctx := g.as(t, "ann", "pa55")
	election := v3electionpb.NewElectionClient(g.connection)
	stream, err := election.Observe(ctx, &v3electionpb.LeaderRequest{Name: a})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		as := g.as(t, "ann", "pa55")
		key := &v3electionpb.LeaderKey{Name: a, Key: []byte("a/1")}
		put, err := g.kv.Put(as, &pb.PutRequest{Key: key.Key, Value: fmt.Append(nil, round)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil || string(r.Kv.Value) != fmt.Sprint(round) {
			t.Fatalf("round %d: %v, %v", round, r, err)
		}
		w.ahead.Add(int64(time.Hour))
		key.Rev = put.Header.Revision
		if _, err := election.Resign(g.as(t, "ann", "pa55"), &v3electionpb.ResignRequest{Leader: key}); err != nil {
			t.Fatal(err)
		}
	}
	g.own(t, &pb.AuthUserRevokeRoleRequest{Name: "ann", Role: "writer"})
	if _, err := g.kv.Put(g.as(t, "root", "r00t"), &pb.PutRequest{Key: []byte("a/2")}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.kv.DeleteRange(g.as(t, "root", "r00t"), &pb.DeleteRangeRequest{Key: []byte("a/2")}); err != nil {
		t.Fatal(err)
	}
	for err == nil { // a leader that came first is told
		_, err = stream.Recv()
	}
	if told(err) != denied || status.Code(err) == codes.OK {
		t.Errorf("who may no longer: %v", err)
	}
}
