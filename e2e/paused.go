package e2e

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	var leases []*kept
	for i := range pausedLeases {
		k, err := r.keepLease(ctx, client, pausedTTL, fmt.Sprint(r.prefix("paused"), i))
		if err != nil {
			return err
		}
		leases = append(leases, k)
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
	live, err := checkKept(ctx, client, leases)
	if err != nil {
		return err
	}
	r.line("all %d that were renewed in time live", live)
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
