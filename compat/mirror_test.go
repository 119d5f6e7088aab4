package compat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server/admin"
)

// TestMirror has an etcd follow a fleet of two regions while it is written, while the mirror is killed and started
// again, over a switchover and over the loss of the primary with what only that one had: in the end both have the same
// keys, with the same values and leases.
func TestMirror(t *testing.T) {
	r := startRegions(t, buildMimir(t), "simple")
	fleet, etcd := clients(t, r.endpoints()...), clients(t, startEtcd(t, "simple"))
	ctx, random := t.Context(), rand.New(rand.NewPCG(1, 1))
	kill := r.mirror(etcd.Endpoints()[0])
	write := func(n int) {
		for range n {
			key := fmt.Sprint("k", random.IntN(30))
			var err error
			switch random.IntN(8) {
			case 0:
				_, err = fleet.Delete(ctx, key, clientv3.WithPrefix())
			case 1:
				var ops []clientv3.Op
				for i := range 120 {
					ops = append(ops, clientv3.OpPut(fmt.Sprint("many", i), fmt.Sprint(random.IntN(9))))
				}
				_, err = fleet.Txn(ctx).Then(ops...).Commit()
			case 2:
				var l *clientv3.LeaseGrantResponse
				if l, err = fleet.Grant(ctx, int64(2+random.IntN(600))); err == nil {
					_, err = fleet.Put(ctx, key, "under", clientv3.WithLease(l.ID))
				}
			default:
				_, err = fleet.Put(ctx, key, fmt.Sprint(random.IntN(1000)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write(100)
	kill()
	write(50)
	kill = r.mirror(etcd.Endpoints()[0])
	if report, err := r.client().Switchover(ctx, "eu"); err != nil || report.To != "eu" {
		t.Fatal(report, err)
	}
	r.primary = 1
	r.await()
	write(100)
	r.same(fleet, etcd)
	kill()
	write(20)
	for _, n := range r.Regions[1].Nodes {
		n.Kill()
	}
	us := clients(t, localfleet.Clients(r.Regions[0].Nodes)...)
	r.force("us")
	if _, err := us.Put(ctx, "after", "the loss"); err != nil {
		t.Fatal(err)
	}
	kill = r.mirror(etcd.Endpoints()[0])
	r.same(us, etcd)
	kill()
}

// force makes a region primary without the other one, by its own nodes.
func (r *regions) force(region string) {
	r.Helper()
	c, err := admin.NewClient(localfleet.Clients(r.Regions[1-r.primary].Nodes), nil)
	if err != nil {
		r.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Failover(r.Context(), region, true); err != nil {
		r.Fatal(err)
	}
}

func clients(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// mirror begins a mirror, and returns what kills it.
func (r *regions) mirror(to string) (kill func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	var next atomic.Uint64
	o := mirror.Options{
		From: func(ctx context.Context) (*grpc.ClientConn, error) {
			all := r.endpoints()
			return backup.Dial(ctx, all[(next.Add(1)-1)%uint64(len(all))], nil, backup.Who{})
		},
		To:      func(ctx context.Context) (*grpc.ClientConn, error) { return backup.Dial(ctx, to, nil, backup.Who{}) },
		Poll:    100 * time.Millisecond,
		Report:  func(mirror.Progress) {},
		Trouble: func(err error) { r.Log(err) },
	}
	go func() { done <- mirror.Run(ctx, o) }()
	return func() {
		r.Helper()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Error(err)
		}
	}
}

// same waits until both have the same.
func (r *regions) same(fleet, etcd *clientv3.Client) {
	r.Helper()
	has := func(c *clientv3.Client) map[string]string {
		got, err := c.Get(r.Context(), "", clientv3.WithPrefix())
		if err != nil {
			r.Fatal(err)
		}
		all := map[string]string{}
		for _, kv := range got.Kvs {
			if !strings.HasPrefix(string(kv.Key), "mimir.mirror/") {
				all[string(kv.Key)] = fmt.Sprintf("%s under %x", kv.Value, kv.Lease)
			}
		}
		return all
	}
	var want, got map[string]string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if want, got = has(fleet), has(etcd); maps.Equal(want, got) {
			return
		}
	}
	for key := range got {
		if want[key] == got[key] {
			delete(want, key)
			delete(got, key)
		}
	}
	r.Fatalf("the fleet has %v, the etcd %v", want, got)
}
