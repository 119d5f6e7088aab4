package etcdapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so: ", what)
		}
	}
}

// What the writes under way do together is bounded too: one for which there is no room waits, and small ones pass.
func TestGiantRequestsTogether(t *testing.T) {
	limits := etcdapi.Limits{EffectBytes: 1 << 20, RequestTimeout: patience}
	n := etcdapitest.Start(t, limits)
	c, ctx := client(t, n), bounded(t)
	for i := range 40 { // 16 times about 1,300 bytes
		put(t, n, fmt.Sprintf("a/%02d", i), strings.Repeat("v", 1<<10))
		put(t, n, fmt.Sprintf("b/%02d", i), strings.Repeat("v", 1<<10))
	}
	held, release := n.Replicator.HoldWrites()
	deleteAll := func(key string) error {
		_, err := c.Delete(ctx, key, clientv3.WithPrefix(), clientv3.WithPrevKV())
		return err
	}
	results := make(chan error, 2)
	go func() { results <- deleteAll("a/") }()
	await(t, "the first write is under way", func() bool { return held() == 1 })
	n.API.SetLimits(etcdapi.Limits{EffectBytes: limits.EffectBytes, RequestTimeout: time.Second})
	if err := deleteAll("b/"); status.Code(err) != codes.ResourceExhausted || held() != 1 {
		t.Errorf("without room: %v, %d under way", err, held())
	}
	n.API.SetLimits(limits)
	go func() { _, err := c.Delete(ctx, "c"); results <- err }()
	await(t, "a small one is under way too", func() bool { return held() == 2 })
	release()
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := deleteAll("b/"); err != nil {
		t.Error("there is room again:", err)
	}
}

// A put that answers the value which it replaces asks for as much as a transaction that does: however small it is
// itself, the answer is counted before it is made.
func TestAPutThatAnswersALargeValue(t *testing.T) {
	limits := etcdapi.Limits{EffectBytes: 1 << 20, RequestTimeout: patience}
	n := etcdapitest.Start(t, limits)
	c, ctx := client(t, n), bounded(t)
	put(t, n, "large", strings.Repeat("v", 100<<10))
	put(t, n, "a", strings.Repeat("v", 40<<10))
	put(t, n, "b", strings.Repeat("v", 40<<10))
	replace := func(key string) error {
		_, err := c.Put(ctx, key, "", clientv3.WithIgnoreValue(), clientv3.WithPrevKV())
		return err
	}
	if err := replace("large"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("one that would answer too much: %v", err)
	}
	held, release := n.Replicator.HoldWrites()
	first := make(chan error, 1)
	go func() { first <- replace("a") }()
	await(t, "the first is under way", func() bool { return held() == 1 })
	n.API.SetLimits(etcdapi.Limits{EffectBytes: limits.EffectBytes, RequestTimeout: time.Second})
	if err := replace("b"); status.Code(err) != codes.ResourceExhausted || held() != 1 {
		t.Errorf("without room: %v, %d under way", err, held())
	}
	n.API.SetLimits(limits)
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := c.Put(ctx, "large", ""); err != nil { // which answers nothing
		t.Error(err)
	}
}

// A node that is behind has little of what a span of keys would delete: it catches up before it estimates.
func TestGiantRequestsAtANodeThatIsBehind(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{EffectBytes: 1 << 20})
	c, ctx := client(t, n), bounded(t)
	catchUp := sync.OnceFunc(func() {
		for i := range 80 {
			put(t, n, fmt.Sprintf("a/%02d", i), strings.Repeat("v", 1<<10))
		}
	})
	n.Replicator.AtBarriers(catchUp)
	if _, err := c.Delete(ctx, "a/", clientv3.WithPrefix(), clientv3.WithPrevKV()); status.Code(err) !=
		codes.InvalidArgument {
		t.Error(err)
	}
}

// A lease with more keys than a node can delete at once is not revoked, and is after some of them were deleted; nor is
// a range compared that is too large.
func TestGiantLeasesAndComparisons(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{EffectBytes: 16 << 10})
	c, ctx := client(t, n), bounded(t)
	l, err := c.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // 256 bytes each, and the key
		if _, err := c.Put(ctx, fmt.Sprintf("a/%02d", i), "", clientv3.WithLease(l.ID)); err != nil {
			t.Fatal(err)
		}
	}
	before := n.Store.Revision()
	if _, err := c.Revoke(ctx, l.ID); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a lease with too much: %v", err)
	}
	all := clientv3.Compare(clientv3.Version("a/").WithPrefix(), "=", 1)
	if _, err := c.Txn(ctx).If(all).Then(clientv3.OpPut("b", "")).Commit(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a comparison of too much: %v", err)
	}
	if n.Store.Revision() != before {
		t.Error("something was done")
	}
	if _, err := c.Delete(ctx, "a/0", clientv3.WithRange("a/6")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(ctx, l.ID); err != nil {
		t.Errorf("a lease that has fewer keys now: %v", err)
	}
}
