package server

import (
	"context"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// What a lessor decided in one tenure ends no lease in another.
func TestAnExpiryOfAnotherTenureIsVoid(t *testing.T) {
	s, err := open(testConfig(t, "solo"), Options{Version: "test", LogTo: &logged{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(nil); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.start(ctx); err != nil {
		t.Fatal(err)
	}
	grant := []*replication.Command{{Data: command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 3600})}}
	if _, err := s.replicator.Propose(ctx, grant); err != nil {
		t.Fatal(err)
	}
	later := s.replicator.Tenure()
	later.Term++
	if err := s.expire(ctx, later, 7); err == nil {
		t.Error("an expiry of another tenure was proposed")
	}
	if _, _, ok := s.store.Lease(7); !ok {
		t.Error("the lease is gone")
	}
	if err := s.expire(ctx, s.replicator.Tenure(), 7); err != nil {
		t.Errorf("an expiry of this tenure: %v", err)
	}
	if _, _, ok := s.store.Lease(7); ok {
		t.Error("the lease is still there")
	}
}
