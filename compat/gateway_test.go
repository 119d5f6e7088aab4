package compat

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/localfleet"
)

var identity = regexp.MustCompile(`"(cluster_id|member_id|raft_term)":\s*"\d+",?\s*`)

// The JSON gateway has etcd's paths, of now and before, and answers with its codes.
func TestGateway(t *testing.T) {
	t.Parallel()
	handler, err := etcdapitest.StartPlain(t).API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mimir := httptest.NewServer(handler)
	defer mimir.Close()
	ports := localfleet.AnyPorts()
	defer ports.Close()
	free, err := ports.Next(1)
	if err != nil {
		t.Fatal(err)
	}
	etcd := "http://" + startEtcdAt(t, "simple", free[0])
	ask := func(base, method, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		all, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(" ", "", "\n", "").Replace(identity.ReplaceAllString(string(all), ""))
		return answer.StatusCode, text
	}
	for _, one := range []struct{ method, path, body string }{
		{"POST", "/v3/kv/put", `{"key":"YQ==","value":"YQ=="}`}, {"POST", "/v3beta/kv/range", `{"key":"YQ=="}`},
		{"POST", "/v3alpha/kv/range", `{"key":"YQ=="}`}, {"GET", "/v3/kv/range", ``}, {"POST", "/v3/kv/range", `{`},
		{"POST", "/v3/kv/deleterange", `{"key":"Yg=="}`}, {"POST", "/v3/kv/txn", `{"compare":[]}`},
		{"POST", "/v3/kv/compaction", `{"revision":"9"}`}, {"POST", "/v3/lease/grant", `{"ID":1,"TTL":99}`},
		{"POST", "/v3/lease/leases", `{}`}, {"POST", "/v3/kv/lease/leases", `{}`},
		{"POST", "/v3/lease/revoke", `{"ID":2}`}, {"POST", "/v3/kv/lease/revoke", `{"ID":2}`},
		{"POST", "/v3/lock/lock", `{"name":"bA==","lease":1}`}, {"POST", "/v3/lock/lock", `{"name":"bA==","lease":7}`},
		{"POST", "/v3/lock/unlock", `{"key":"bC8x"}`}, {"POST", "/v3/election/leader", `{"name":"ZQ=="}`},
		{"POST", "/v3/election/campaign", `{"name":"ZQ==","lease":1}`}, {"POST", "/v3/election/resign", `{}`},
		{"POST", "/v3/maintenance/alarm", `{}`}, {"POST", "/v3/maintenance/defragment", `{}`},
		{"POST", "/v3/maintenance/downgrade", `{"version":"x"}`}, {"POST", "/v3/auth/status", `{}`},
		{"POST", "/v3/maintenance/transfer-leadership", `{"targetID":9}`}, {"POST", "/v3/nothing", `{}`},
		{"OPTIONS", "/v3/kv/put", ``}, {"OPTIONS", "/v3beta/kv/put", ``}, {"OPTIONS", "/health", ``},
	} {
		code, text := ask(etcd, one.method, one.path, one.body)
		if got, told := ask(mimir.URL, one.method, one.path, one.body); got != code || told != text {
			t.Errorf("%s %s %s\netcd:  %d %s\nmimir: %d %s", one.method, one.path, one.body, code, text, got, told)
		}
	}
}

// Whoever has closed his side of a stream of watches still gets events; the health of the node has etcd's name.
func TestHalfClosedWatchesAndHealth(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var streams [2]grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	for i, s := range p.sides {
		stream, err := s.watch.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		create := &pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 2}
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
		if err != nil || stream.CloseSend() != nil {
			t.Fatal(s.name, err)
		}
		streams[i] = stream
	}
	for range 3 {
		p.both("put", sent(&pb.PutRequest{Key: []byte("a")}))
	}
	for i, stream := range streams {
		for events := 0; events < 3; {
			r, err := stream.Recv()
			if err != nil {
				t.Fatal(p.sides[i].name, err)
			}
			events += len(r.Events)
		}
	}
	for _, service := range []string{"", "etcdserverpb.KV", "x"} {
		p.both("health of "+service, func(ctx context.Context, s *side) (proto.Message, error) {
			return s.health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		})
	}
	p.both("all healths", func(ctx context.Context, s *side) (proto.Message, error) {
		return s.health.List(ctx, &healthpb.HealthListRequest{})
	})
	p.both("health seen", func(ctx context.Context, s *side) (proto.Message, error) {
		stream, err := s.health.Watch(ctx, &healthpb.HealthCheckRequest{Service: "x"})
		if err != nil {
			return nil, err
		}
		return stream.Recv()
	})
}

// Leases are listed in the order in which they expire.
func TestOrderOfLeases(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	ids := []int64{50, 20, 40, 10, 30}
	p.grant(ids...)
	p.both("a short one", sent(&pb.LeaseGrantRequest{ID: 60, TTL: 1000}))
	p.both("renewed", sent(&pb.LeaseKeepAliveRequest{ID: 20}))
	for _, s := range p.sides {
		r, err := s.lease.LeaseLeases(t.Context(), &pb.LeaseLeasesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, l := range r.Leases {
			got = append(got, l.ID)
		}
		if want := []int64{60, 50, 40, 10, 30, 20}; !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v", s.name, got, want)
		}
	}
}
