package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/server/patrol"

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
	if err := s.expiry.expire(ctx, later, 7); err == nil {
		t.Error("an expiry of another tenure was proposed")
	}
	if _, _, ok := s.store.Lease(7); !ok {
		t.Error("the lease is gone")
	}
	if err := s.expiry.expire(ctx, s.replicator.Tenure(), 7); err != nil {
		t.Errorf("an expiry of this tenure: %v", err)
	}
	if _, _, ok := s.store.Lease(7); ok {
		t.Error("the lease is still there")
	}
	for _, old := range []error{nil, fmt.Errorf("%w: eu-1", replication.ErrOldNode)} {
		expiresInParts(ctx, t, s, old)
	}
	expiresWithLongKeys(ctx, t, s)
	expiresOnce(ctx, t, s)
	endsNoLaterLease(ctx, t, s)
	raisesInTenure(ctx, t, s)
}

// raisesInTenure: neither does what was found in one tenure raise an alarm in another.
func raisesInTenure(ctx context.Context, t *testing.T, s *server) {
	found := []patrol.Member{{Name: "solo-9", ID: 9}}
	now := s.replicator.Tenure()
	for _, in := range []replication.Tenure{{Term: now.Term + 1, Epoch: now.Epoch}, {Term: now.Term}, now} {
		err := s.equality.raise(ctx, in, found, found)
		raised := kv.Raised(s.store, command.AlarmDiffers, 9)
		if in != now && (raised || !errors.Is(err, replication.ErrNotLeader)) || in == now && (!raised || err != nil) {
			t.Errorf("found in %+v, now it is %+v: raised %t, %v", in, now, raised, err)
		}
	}
}

// expiresInParts has a lease end whose keys are too many for one command: in several, but not the key that hangs on
// another lease by then, and with the lease at last. By the first one the lease is dead, unless some node is too old to
// know that.
func expiresInParts(ctx context.Context, t *testing.T, s *server, old error) {
	const keys, part = 50, 1000
	s.lessor.Demote() // it would go on with what is begun here
	defer s.lessor.Promote(s.replicator.Tenure())
	propose := func(c []byte) { t.Helper(); mustPropose(ctx, t, s, c) }
	put := func(i int, lease int64) {
		propose(command.EncodePut(&pb.PutRequest{Key: fmt.Appendf(nil, "k%04d", i), Lease: lease}))
	}
	for _, id := range []int64{8, 9} {
		propose(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id, TTL: 3600}))
	}
	for i := range keys {
		put(i, 8)
	}
	parts := 0
	small := expiry{keys: kv.LeaseKeys{Store: s.store}, bytes: part, part: part, longest: part,
		understood: func(context.Context, []byte) error { return old },
		propose: func(ctx context.Context, in replication.Tenure, c []byte) ([]byte, error) {
			if !command.IsLeaseExpiry(c) || len(c) > part {
				t.Errorf("%d bytes, and is a decision about a lease: %t", len(c), command.IsLeaseExpiry(c))
			}
			if commandLevel(c) >= timeline.LevelEnds != (old == nil) || old == nil && begins(t, c) != (parts == 0) {
				t.Errorf("where a node is too old (%v) command %d is %x", old, parts, c[len(c)-3:])
			}
			if parts++; parts == 2 {
				put(keys-1, 9) // while it ends
			}
			return s.propose(ctx, in, c)
		}}
	if err := small.expire(ctx, s.replicator.Tenure(), 8); err != nil {
		t.Fatal(err)
	}
	answer, err := s.store.Range(ctx, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil || len(answer.Kvs) != 1 || answer.Kvs[0].Lease != 9 {
		t.Errorf("left: %v, %v", answer.GetKvs(), err)
	}
	defer propose(command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 9}))
	if _, _, ok := s.store.Lease(8); ok || parts < 4 {
		t.Errorf("the lease is there: %t, after %d commands", ok, parts)
	}
	refused := expiry{keys: kv.LeaseKeys{Store: s.store}, bytes: 1 << 20,
		propose: func(context.Context, replication.Tenure, []byte) ([]byte, error) {
			var r command.Results
			r.Refused(command.ErrEffectTooLarge)
			return r.All()[0], nil
		}}
	if err := refused.expire(ctx, s.replicator.Tenure(), 9); !errors.Is(err, command.ErrEffectTooLarge) {
		t.Errorf("an expiry that is refused where it is applied: %v", err)
	}
}

// expiresWithLongKeys has a lease end in parts, of which some keys are too long for the log, all of them or not: these
// go with the lease, which is dead from the first part on if there is one.
func expiresWithLongKeys(ctx context.Context, t *testing.T, s *server) {
	const part, most = 200, 500
	s.lessor.Demote()
	defer s.lessor.Promote(s.replicator.Tenure())
	long := func(name string) string { return "k" + name + strings.Repeat("k", most/2) }
	for what, keys := range map[string][]string{
		"all":            {long("1"), long("2")},
		"first and last": {long("1"), "k2", "k3", "k4", long("5")},
		"in between":     {"k1", "k2", "k3", long("4"), "k5"},
	} {
		mustPropose(ctx, t, s, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 8, TTL: 3600}))
		for _, key := range keys {
			mustPropose(ctx, t, s, command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: 8}))
		}
		var steps []command.Step
		small := expiry{keys: kv.LeaseKeys{Store: s.store}, bytes: part, part: part, longest: most - expiryFrameBytes,
			understood: func(context.Context, []byte) error { return nil },
			propose: func(ctx context.Context, in replication.Tenure, c []byte) ([]byte, error) {
				if len(c) > most {
					return nil, fmt.Errorf("%w: %d bytes", replication.ErrTooLarge, len(c))
				}
				var r command.Request
				if err := r.Decode(c); err != nil {
					t.Error(err)
				}
				steps = append(steps, r.Step)
				return s.propose(ctx, in, c)
			}}
		if err := small.expire(ctx, s.replicator.Tenure(), 8); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		answer, err := s.store.Range(ctx, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
		if _, _, ok := s.store.Lease(8); ok || err != nil || len(answer.Kvs) != 0 {
			t.Errorf("%s: the lease is there: %t; left: %v, %v", what, ok, answer.GetKvs(), err)
		}
		want := []command.Step{0} // nothing was said before
		if what != "all" {
			want = slices.Repeat([]command.Step{command.GoesOn}, max(1, len(steps)))
			want[0] = command.Begins
		}
		if !slices.Equal(steps, want) {
			t.Errorf("%s: steps %v, want %v", what, steps, want)
		}
	}
}

// begins reports whether a step of the end of a lease is the first one.
func begins(t *testing.T, c []byte) (first bool) {
	var r command.Request
	if err := r.Decode(c); err != nil {
		t.Fatal(err)
	}
	return r.Step == command.Begins
}

func mustPropose(ctx context.Context, t *testing.T, s *server, c []byte) {
	t.Helper()
	if _, err := s.replicator.Propose(ctx, []*replication.Command{{Data: c}}); err != nil {
		t.Fatal(err)
	}
}

// expiresOnce has a lease that ends in parts be revoked and granted anew after the first: the later one loses no key
// and lives on, also where that is not known yet to whoever writes the next part; who knows it writes none.
func expiresOnce(ctx context.Context, t *testing.T, s *server) {
	const keys, part = 50, 1000
	s.lessor.Demote()
	defer s.lessor.Promote(s.replicator.Tenure())
	revoke := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 8})
	grant := func() {
		t.Helper()
		mustPropose(ctx, t, s, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 8, TTL: 3600}))
		for i := range keys {
			mustPropose(ctx, t, s, command.EncodePut(&pb.PutRequest{Key: fmt.Appendf(nil, "k%04d", i), Lease: 8}))
		}
	}
	for _, told := range []bool{false, true} {
		grant()
		going, stop := context.WithCancel(ctx)
		defer stop()
		parts := 0
		small := expiry{keys: kv.LeaseKeys{Store: s.store}, bytes: part, part: part, longest: part,
			understood: func(context.Context, []byte) error { return nil },
			propose: func(_ context.Context, in replication.Tenure, c []byte) ([]byte, error) {
				result, err := s.propose(ctx, in, c)
				if parts++; parts == 1 {
					mustPropose(ctx, t, s, revoke)
					grant()
					if told {
						stop()
					}
				}
				return result, err
			}}
		err := small.expire(going, s.replicator.Tenure(), 8)
		if told != errors.Is(err, context.Canceled) || told == (parts != 1) || !told && err != nil {
			t.Errorf("told %t: %d parts, %v", told, parts, err)
		}
		if _, left, ok := s.store.Lease(8); !ok || len(left) != keys {
			t.Errorf("told %t: the later lease is there %t, with %d keys", told, ok, len(left))
		}
		mustPropose(ctx, t, s, revoke)
	}
}
