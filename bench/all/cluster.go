package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench/goals"
)

// cluster is what a Kubernetes cluster does to its store: it updates leases by what it knows of them, and makes
// objects.
type cluster struct {
	client  atomic.Pointer[clientv3.Client]
	known   []int64 // the revisions of leases; each belongs to one caller
	made    atomic.Int64
	rate    float64 // updates a second
	objects int
}

const (
	leaseValue  = 400
	objectValue = 1 << 10
)

func leaseKey(n int) string  { return fmt.Sprintf("registry/leases/node-%07d", n) }
func objectKey(n int) string { return fmt.Sprintf("registry/pods/default/pod-%09d", n) }

var errConflict = errors.New("somebody else wrote the lease")

// newCluster puts the objects and leases that there are from the beginning, and learns what is known of the leases.
func newCluster(ctx context.Context, c *clientv3.Client, s scale) (*cluster, error) {
	k := &cluster{known: make([]int64, max(s.leaseRate*renewEach, leaseCallers)), rate: float64(s.leaseRate),
		objects: s.leaseObjects}
	k.client.Store(c)
	if _, err := fill(ctx, c, k.objects, objectValue, objectKey); err != nil {
		return nil, err
	}
	if _, err := fill(ctx, c, len(k.known), leaseValue, leaseKey); err != nil {
		return nil, err
	}
	k.made.Store(int64(k.objects))
	return k, k.learn(ctx)
}

// learn makes the leases known as they are: who updates one has done so before.
func (k *cluster) learn(ctx context.Context) error {
	bounded, done := context.WithTimeout(ctx, callWithin)
	defer done()
	answer, err := k.client.Load().Get(bounded, leaseKey(0), clientv3.WithRange(leaseKey(len(k.known))),
		clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("learn %d leases: %w", len(k.known), err)
	}
	if len(answer.Kvs) != len(k.known) {
		return fmt.Errorf("%d of %d leases are there", len(answer.Kvs), len(k.known))
	}
	for i, kv := range answer.Kvs {
		k.known[i] = kv.ModRevision
	}
	return nil
}

// drive updates leases and makes objects at the rate, in their proportion.
func (k *cluster) drive(ctx context.Context, lasts time.Duration) []call {
	random := make([]*rand.Rand, leaseCallers)
	turns := make([]int, leaseCallers)
	for i := range random {
		random[i] = rand.New(rand.NewPCG(uint64(i), 11))
	}
	whole := k.rate + k.rate/goals.UpdatesToCreates
	return paced{whole, leaseCallers, leaseWithin}.drive(ctx, lasts, func(ctx context.Context, caller int) error {
		turns[caller]++
		if turns[caller]%(goals.UpdatesToCreates+1) == 0 {
			return k.create(ctx, random[caller])
		}
		own := (len(k.known) - caller + leaseCallers - 1) / leaseCallers
		return k.update(ctx, caller+turns[caller]%own*leaseCallers, random[caller])
	})
}

// create makes an object, if there is none of that name.
func (k *cluster) create(ctx context.Context, random *rand.Rand) error {
	key := objectKey(int(k.made.Add(1)))
	_, err := k.client.Load().Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, text(random, objectValue))).Else(clientv3.OpGet(key)).Commit()
	return err
}

// update renews a lease as it is known; if it is another one, it is known then, and renewed.
func (k *cluster) update(ctx context.Context, n int, random *rand.Rand) error {
	key := leaseKey(n)
	for range 3 {
		answer, err := k.client.Load().Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", k.known[n])).
			Then(clientv3.OpPut(key, text(random, leaseValue))).Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return err
		}
		if answer.Succeeded {
			k.known[n] = answer.Header.Revision
			return nil
		}
		k.known[n] = 0
		if got := answer.Responses[0].GetResponseRange(); len(got.Kvs) > 0 {
			k.known[n] = got.Kvs[0].ModRevision
		}
	}
	return errConflict
}
