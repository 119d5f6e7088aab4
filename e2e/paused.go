package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

const (
	pausedLeases   = 50
	pausedTTL      = 5 // seconds
	pausedFor      = 10 * time.Second
	pausedAfterFor = 2 * pausedTTL * time.Second
)

// paused is the phase of that name: what a leader decides that stood still is void, since another leads by then.
func (r *run) paused(ctx context.Context) error {
	primary, secondary, err := r.primary(ctx)
	if err != nil {
		return err
	}
	client, err := connect(localfleet.Clients(secondary.Nodes)...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lost atomic.Int64
	for i := range pausedLeases {
		if err := r.keepLease(ctx, client, pausedTTL, fmt.Sprint(r.prefix("paused"), i), &lost); err != nil {
			return err
		}
	}
	leader, err := r.leader(ctx, primary)
	if err != nil {
		return err
	}
	if err := suspend(leader.PID()); err != nil {
		return err
	}
	r.line("stopped %s, the leader of %s, for %s; %d leases of %d s are kept alive at %s", leader.Config.Name,
		primary.Name, pausedFor, pausedLeases, pausedTTL, secondary.Name)
	if err := errors.Join(wait(ctx, pausedFor), resume(leader.PID())); err != nil {
		return err
	}
	if err := wait(ctx, pausedAfterFor); err != nil {
		return err
	}
	held, err := client.Get(ctx, r.prefix("paused"), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if held.Count != pausedLeases || lost.Load() > 0 {
		return fmt.Errorf("%d of %d leases live that were kept alive; %d clients were told that theirs is gone",
			held.Count, pausedLeases, lost.Load())
	}
	r.line("all of them live")
	return nil
}

// keepLease grants a lease of so many seconds with a key, and keeps it alive until ctx ends. It counts one that the
// client gave up.
func (r *run) keepLease(
	ctx context.Context, client *clientv3.Client, ttl int64, key string, lost *atomic.Int64,
) error {
	lease, err := client.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	if _, err := client.Put(ctx, key, "leased", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	answers, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range answers {
		}
		if ctx.Err() == nil {
			lost.Add(1)
		}
	}()
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
