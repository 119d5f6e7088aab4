package compat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// TestMirrorsIntoOneEtcd has two mirrors write below prefixes of one etcd what is under one lease of the fleet: what
// ends there comes back with each of them. What is too large for that etcd is named.
func TestMirrorsIntoOneEtcd(t *testing.T) {
	ctx := t.Context()
	node := etcdapitest.Start(t, etcdapi.Limits{RequestBytes: 8 << 20})
	fleet, etcd := clients(t, node.Endpoint), clients(t, startEtcd(t, "simple"))
	dial := func(endpoint string) sides.Dial {
		return func(ctx context.Context) (*grpc.ClientConn, error) {
			return backup.Dial(ctx, endpoint, nil, backup.Who{})
		}
	}
	options := func(prefix string) mirror.Options {
		return mirror.Options{
			From: dial(node.Endpoint), To: dial(etcd.Endpoints()[0]), Prefix: prefix, ToPrefix: prefix,
			Poll: 100 * time.Millisecond, Report: func(mirror.Progress) {}, Trouble: func(err error) { t.Log(err) },
		}
	}
	begin := func(prefix string) (end func()) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- mirror.Run(ctx, options(prefix)) }()
		return func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	}
	there := func(key string, want bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			r, err := etcd.Get(ctx, key)
			switch {
			case err != nil:
				t.Fatal(err)
			case (r.Count > 0) == want:
				return
			case time.Now().After(deadline):
				t.Fatalf("%s is there: never %t", key, want)
			}
		}
	}
	lease, err := fleet.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/k", "b/k"} {
		if _, err := fleet.Put(ctx, key, "1", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	endA, endB := begin("a/"), begin("b/")
	there("a/k", true)
	there("b/k", true)
	endA()
	endB()
	leases, err := etcd.Leases(ctx)
	if err != nil || len(leases.Leases) != 2 {
		t.Fatal(leases, err)
	}
	for _, l := range leases.Leases {
		if _, err := etcd.Revoke(ctx, l.ID); err != nil {
			t.Fatal(err)
		}
	}
	endA = begin("a/")
	there("a/k", true)
	endB = begin("b/")
	there("b/k", true)
	if _, err := fleet.Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	there("a/k", false)
	there("b/k", false)
	endA()
	endB()
	large, err := clientv3.New(clientv3.Config{Endpoints: []string{node.Endpoint}, MaxCallSendMsgSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	for _, size := range []int{1800 << 10, 3 << 20} { // refused by the etcd, and by its gRPC
		if _, err := large.Put(ctx, "a/large", strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
		if err := mirror.Run(ctx, options("a/")); !errors.Is(err, mirror.ErrRefused) ||
			!strings.Contains(err.Error(), `"a/large"`) {
			t.Error(size, err)
		}
	}
}
