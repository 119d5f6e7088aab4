package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mimir-kv/mimir/server/operator"
)

// The log is told of slow requests, of ten in a window, and later of how many it was not told; values are not in it.
func TestSlowRequests(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1, 0)
	s := newSlow(100*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	s.now = func() time.Time { return now }
	put := &pb.PutRequest{Key: []byte("name" + strings.Repeat("x", 100)), Value: []byte("secret")}
	hear := func(method string, took time.Duration) {
		s.heard(t.Context(), method, took, put, &pb.PutResponse{}, status.Error(codes.Unavailable, "no leader"))
	}
	hear("/etcdserverpb.KV/Put", 100*time.Millisecond)
	hear("/v3lockpb.Lock/Lock", time.Hour)
	if log.Len() > 0 {
		t.Errorf("told %s", &log)
	}
	for range 2 * slowLines {
		hear("/etcdserverpb.KV/Put", 1234567*time.Microsecond)
	}
	kept := s.last()
	want := "code Unavailable, key \"name" + strings.Repeat("x", 60) + "\", requestBytes "
	if len(kept) != slowLines || kept[0].Took != "1.235s" || !strings.HasPrefix(kept[0].About, want) ||
		strings.Contains(kept[0].About, "secret") {
		t.Errorf("kept for the console: %+v", kept)
	}
	if n := strings.Count(log.String(), "\n"); n != slowLines {
		t.Errorf("%d lines", n)
	}
	line, _, _ := strings.Cut(log.String(), "\n")
	for _, want := range []string{"method=/etcdserverpb.KV/Put", "took=1.235s", "code=Unavailable", "key=namexxx"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
	if strings.Contains(line, "secret") || len(line) > 400 {
		t.Errorf("too much: %s", line)
	}
	log.Reset()
	now = now.Add(slowWindow)
	hear("/etcdserverpb.KV/Put", time.Second)
	if !strings.Contains(log.String(), "more=10") {
		t.Errorf("what was left out is not told: %s", &log)
	}
	if kept := s.last(); kept[0].More != 10 || kept[1].More != 0 {
		t.Errorf("what was left out is not kept: %+v", kept[:2])
	}
	for range slowKept {
		now = now.Add(slowWindow)
		hear("/etcdserverpb.KV/Put", time.Second)
	}
	if kept := s.last(); len(kept) != slowKept || !kept[0].At.Equal(now) || kept[0].About == "" {
		t.Errorf("%d are kept, the newest of %v", len(kept), kept[0].At)
	}
	s.bound.Store(0)
	log.Reset()
	hear("/etcdserverpb.KV/Put", time.Hour)
	if log.Len() > 0 {
		t.Errorf("told without a bound: %s", &log)
	}
}

// Who asked through the JSON gateway is told by the address of the HTTP request.
func TestSlowRequestsOfTheGateway(t *testing.T) {
	var log bytes.Buffer
	s := newSlow(time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	audit, err := operator.OpenAudit(operator.AuditOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := operator.NewGate(audit).HTTP("/v3/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := peer.NewContext(r.Context(), &peer.Peer{Addr: bufconn.Listen(1).Addr()})
		s.heard(ctx, "/etcdserverpb.KV/Range", time.Second, &pb.RangeRequest{}, nil, nil)
	}))
	r := httptest.NewRequest(http.MethodPost, "/v3/kv/range", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if !strings.Contains(log.String(), "client="+r.RemoteAddr) || strings.Contains(log.String(), "bufconn") {
		t.Error(log.String())
	}
}
