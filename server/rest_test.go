package server

import (
	"context"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// endsNoLaterLease has the end of a lease begin, and another one go on with it, as it does where the primary moved.
// Just before what that one writes the lease is revoked and granted anew: the later one lives on with its keys, whether
// what is left goes at once or in parts. Where nothing like that happens the lease is gone.
func endsNoLaterLease(ctx context.Context, t *testing.T, s *server) {
	s.lessor.Demote()
	defer s.lessor.Promote(s.replicator.Tenure())
	revoke := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 8})
	grant := func() {
		t.Helper()
		mustPropose(ctx, t, s, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 8, TTL: 3600}))
		for _, key := range []string{"rest-a", "rest-b"} {
			mustPropose(ctx, t, s, command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: 8}))
		}
	}
	for what, most := range map[string]int64{"at once": 1 << 20, "in parts": 1} {
		for _, anew := range []bool{true, false} {
			grant()
			mustPropose(ctx, t, s, command.EncodeLeaseExpiryPart(8, [][]byte{[]byte("rest-a")}, command.Begins))
			meets := anew
			next := expiry{keys: kv.LeaseKeys{Store: s.store}, bytes: most, part: 1 << 20, longest: 1 << 20,
				understood: func(context.Context, []byte) error { return nil },
				propose: func(ctx context.Context, in replication.Tenure, c []byte) ([]byte, error) {
					if meets {
						meets = false
						mustPropose(ctx, t, s, revoke)
						grant()
					}
					return s.propose(ctx, in, c)
				}}
			if err := next.expire(ctx, s.replicator.Tenure(), 8); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if _, left, ok := s.store.Lease(8); ok != anew || anew && len(left) != 2 {
				t.Errorf("%s, granted anew %t: it is there %t, with %d keys", what, anew, ok, len(left))
			}
			if anew {
				mustPropose(ctx, t, s, revoke)
			}
		}
	}
}
