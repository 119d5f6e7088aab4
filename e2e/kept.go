package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// kept is a lease with a key that is kept alive. A slow machine may do that too late, and then it may end; one that was
// renewed in time lives.
type kept struct {
	key string
	ttl time.Duration

	mu   sync.Mutex
	last time.Time     // when the last renewal that was answered began
	gap  time.Duration // the longest time from then to the next answer
	gone bool          // somebody said that there is no such lease
}

// keepLease grants a lease of so many seconds with a key, and keeps it alive until ctx ends.
func (r *run) keepLease(ctx context.Context, client *clientv3.Client, ttl int64, key string) (*kept, error) {
	k := &kept{key: key, ttl: time.Duration(ttl) * time.Second, last: time.Now()}
	lease, err := client.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	if _, err := client.Put(ctx, key, "leased", clientv3.WithLease(lease.ID)); err != nil {
		return nil, err
	}
	go func() {
		for !k.isGone() && wait(ctx, k.ttl/6) == nil {
			k.renew(ctx, client, lease.ID)
		}
	}()
	return k, nil
}

func (k *kept) renew(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(ctx, k.ttl/2)
	defer cancel()
	began := time.Now()
	_, err := client.KeepAliveOnce(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone = errors.Is(err, rpctypes.ErrLeaseNotFound); err != nil && !k.gone {
		return
	}
	k.gap = max(k.gap, time.Since(k.last))
	k.last = began
}

func (k *kept) isGone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone
}

// inTime reports whether every renewal so far came in time.
func (k *kept) inTime() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gap < k.ttl && (k.gone || time.Since(k.last) < k.ttl)
}

// checkKept returns how many leases were renewed in time, and an error if one of them does not live. Which were is
// known before the keys are read.
func checkKept(ctx context.Context, client *clientv3.Client, leases []*kept) (inTime int, err error) {
	for _, k := range leases {
		if !k.inTime() {
			continue
		}
		inTime++
		got, err := client.Get(ctx, k.key, clientv3.WithCountOnly())
		if err != nil {
			return inTime, err
		}
		if k.inTime() && (k.isGone() || got.Count == 0) {
			return inTime, fmt.Errorf("the lease of %s was renewed in time, and has ended", k.key)
		}
	}
	if inTime == 0 {
		return 0, errors.New("no lease was renewed in time: this machine is too slow to tell")
	}
	return inTime, nil
}
