package etcdapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

func durability(ctx context.Context, said string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, etcdapi.DurabilityKey, said)
}

// regionsBeside is a durability in so many regions beside the primary.
func regionsBeside(t *testing.T, k int) etcdapi.Durability {
	t.Helper()
	d, err := etcdapi.ParseDurability(fmt.Sprintf("regions=%d", k))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAWriteThatIsInTooFewRegionsIsTold, with its revision and where it is, by a code with which clientv3 does not send
// it again.
func TestAWriteThatIsInTooFewRegionsIsTold(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{Durability: etcdapi.DurabilityRules{
		Prefixes: map[string]etcdapi.Durability{"/pay/": regionsBeside(t, 1)},
	}})
	etcdapitest.Beside(n.Replicator, "eu")
	etcdapitest.Shorten(n.Replicator,
		fmt.Errorf("%w: position 7 is in 1 of 2 regions: us", replication.ErrUnderReplicated))
	kv, leases, ctx := pb.NewKVClient(n.Dial(t)), pb.NewLeaseClient(n.Dial(t)), bounded(t)
	put := func(ctx context.Context, key string) error {
		_, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(key)})
		return err
	}
	leaseOf := func(ctx context.Context) error {
		_, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 60})
		return err
	}
	for name, c := range map[string]struct {
		err  error
		code codes.Code
	}{
		"by request":          {put(durability(ctx, "regions=1"), "a"), codes.Unavailable},
		"by request, all":     {put(durability(ctx, "all"), "a"), codes.Unavailable},
		"by prefix":           {put(ctx, "/pay/1"), codes.Unavailable},
		"by prefix, and less": {put(durability(ctx, "local"), "/pay/1"), codes.Unavailable},
		"a lease":             {leaseOf(durability(ctx, "quorum")), codes.FailedPrecondition},
	} {
		s := status.Convert(c.err)
		header, _ := append(s.Details(), nil)[0].(*pb.ResponseHeader)
		if s.Code() != c.code || header.GetRevision() == 0 ||
			!strings.Contains(s.Message(), fmt.Sprintf("committed in the primary (revision %d)", header.Revision)) ||
			!strings.Contains(s.Message(), "in 1 of 2 regions: us") {
			t.Errorf("%s: %v, details %v", name, c.err, s.Details())
		}
	}
	_, before := etcdapitest.Proposals(n.Replicator)
	if err := put(ctx, "a"); err != nil {
		t.Errorf("of one region: %v", err)
	}
	if _, after := etcdapitest.Proposals(n.Replicator); after != before+1 {
		t.Errorf("%d writes were done, and then %d", before, after)
	}
	etcdapitest.Shorten(n.Replicator, nil)
	if err := put(durability(ctx, "regions=1"), "/pay/1"); err != nil {
		t.Errorf("in both regions: %v", err)
	}
}

// TestADurabilityThatCannotBeHadIsRefused before anything is written.
func TestADurabilityThatCannotBeHadIsRefused(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{Durability: etcdapi.DurabilityRules{
		Prefixes: map[string]etcdapi.Durability{"/far/": regionsBeside(t, 3)},
	}})
	etcdapitest.Beside(n.Replicator, "ap", "eu")
	kv, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	for name, c := range map[string]struct {
		key, said string
		code      codes.Code
		text      string
	}{
		"too many":           {"a", "regions=3", codes.FailedPrecondition, "the fleet has 2 regions beside"},
		"too many by prefix": {"/far/1", "local", codes.FailedPrecondition, "the fleet has 2 regions beside"},
		"malformed":          {"a", "two", codes.InvalidArgument, "local, regions=K"},
	} {
		_, err := kv.Put(durability(ctx, c.said), &pb.PutRequest{Key: []byte(c.key)})
		if s := status.Convert(err); s.Code() != c.code || !strings.Contains(s.Message(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, done := etcdapitest.Proposals(n.Replicator); done != 0 {
		t.Errorf("%d writes were done", done)
	}
}
