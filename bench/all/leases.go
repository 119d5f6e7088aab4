package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/localfleet"
)

const (
	renewEach    = 10                     // seconds: each lease is updated once in that time
	settled      = time.Second            // what comes so soon after a pause is still of it
	pauseWithin  = 5 * time.Second        // of the loss of the region, it begins
	behindWithin = time.Minute            // of the loss, what is slow may be for that
	failAfter    = 200 * time.Millisecond // the operator's answer to the loss
	failTries    = 30 * time.Second
	regionNodes  = 3
	leaseCallers = 64
	leaseWithin  = 5 * time.Second // one request; a client then asks again
)

// measureLeases has the load of a large Kubernetes cluster on two regions, of which the first is lost in the middle,
// and on etcd.
func (e *env) measureLeases(ctx context.Context) (goals.Goal, error) {
	l := goals.Leases{Updates: float64(e.scale.leaseRate), Objects: e.scale.leaseObjects,
		Creates: float64(e.scale.leaseRate) / goals.UpdatesToCreates, Seconds: e.scale.leaseLasts.Seconds()}
	err := e.leasesOfMimir(ctx, &l)
	if err == nil {
		err = e.leasesOfEtcd(ctx, &l)
	}
	g := goals.JudgeLeases(l)
	if err == nil && len(g.MissedLoads()) > 0 {
		err = e.profileLeases(ctx, &g)
	}
	return g, err
}

// leasesOfMimir has the failover in the middle.
func (e *env) leasesOfMimir(ctx context.Context, l *goals.Leases) error {
	f, c, k, err := e.leaseFleet(ctx, "leases")
	if err != nil {
		return err
	}
	defer f.Close()
	defer c.Close()
	spin := bench.Spin()
	lost := make(chan error, 1)
	moving, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var lostAt time.Duration
	go func() {
		if !until(moving, began.Add(e.scale.leaseLasts/2)) {
			lost <- context.Cause(moving)
			return
		}
		lostAt = time.Since(began)
		lost <- e.failOver(moving, f, k)
	}()
	calls := k.drive(ctx, e.scale.leaseLasts)
	if err := <-lost; err != nil {
		return fmt.Errorf("failover: %w", err)
	}
	from, to := silence(calls, lostAt, pauseWithin)
	kept := outside(calls, from, to+settled)
	e.note(&l.Mimir, kept, e.scale.leaseLasts-(to+settled-from), spin)
	l.Pause = value(float64(to-from)/float64(time.Millisecond), spin)
	l.Behind = value(dueWithin(slowest(kept, 100), lostAt, lostAt+behindWithin), spin)
	fmt.Fprintf(e.say, "of the slowest hundredth %.0f %% were due within %v of the loss\n", 100*l.Behind.Value.Median,
		behindWithin)
	fmt.Fprintf(e.say, "failover: nothing was answered for %v\n", (to - from).Round(time.Millisecond))
	return nil
}

// leaseFleet starts two regions with what there is from the beginning, and waits until the second one has it too, and
// all are at rest.
func (e *env) leaseFleet(ctx context.Context, name string) (*localfleet.Fleet, *clientv3.Client, *cluster, error) {
	command := []string{e.mimir, "serve", "--pprof"}
	f, c, err := startFleet(ctx, filepath.Join(e.work, name), command, regionNodes, "us", "eu")
	if err != nil {
		return nil, nil, nil, err
	}
	var k *cluster
	d := &duo{env: e, fleet: f, us: f.Regions[0].Nodes[0], eu: f.Regions[1].Nodes[0], client: c}
	if err = d.connect(ctx); err == nil {
		if k, err = newCluster(ctx, c, e.scale); err == nil {
			err = d.together(ctx)
		}
		d.there.Close()
	}
	if err == nil {
		err = atRest(ctx, pidsOf(f.Nodes())...)
	}
	if err != nil {
		c.Close()
		f.Close()
		return nil, nil, nil, err
	}
	return f, c, k, nil
}

// failOver loses the first region, has the second one take over, and starts the first one again, which follows.
func (e *env) failOver(ctx context.Context, f *localfleet.Fleet, k *cluster) error {
	us, eu := f.Region("us").Nodes, f.Region("eu").Nodes
	there, err := clientv3.New(clientConfig(ctx, localfleet.Clients(eu)))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { there.Close() })
	localfleet.Kill(us)
	k.client.Store(there)
	if !until(ctx, time.Now().Add(failAfter)) {
		return context.Cause(ctx)
	}
	bounded, done := context.WithTimeout(ctx, failTries)
	defer done()
	endpoints := strings.Join(localfleet.Clients(eu), ",")
	err = await(bounded, func() error {
		c := exec.CommandContext(bounded, e.mimir, "failover", "--to", "eu", "--force", "--endpoints", endpoints)
		said, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("mimir failover: %w: %s", err, strings.TrimSpace(string(said)))
		}
		return err
	})
	if err != nil {
		return err
	}
	return localfleet.Start(us)
}

func (e *env) leasesOfEtcd(ctx context.Context, l *goals.Leases) error {
	began := &servers{dir: e.work}
	defer began.end()
	theirs, err := began.etcd(e.etcd, "leased", regionNodes)
	if err != nil {
		return err
	}
	c, err := dial(ctx, theirs.Endpoints)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer c.Close()
	k, err := newCluster(ctx, c, e.scale)
	if err == nil {
		err = atRest(ctx, theirs.pids...)
	}
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	spin := bench.Spin()
	e.note(&l.Etcd, k.drive(ctx, e.scale.leaseLasts), e.scale.leaseLasts, spin)
	return ctx.Err()
}

// note sums up what was answered in that time.
func (e *env) note(into *goals.LeaseSide, calls []call, in, spin time.Duration) {
	took, failed := answers(calls)
	into.PerSecond = value(float64(took.Count())/in.Seconds(), spin)
	into.P99 = value(float64(took.Quantile(0.99))/float64(time.Millisecond), spin)
	into.Failed = failed
	fmt.Fprintf(e.say, "lease updates and creates: %d answered, %d failed, p99 %v; by the half minute: %s\n",
		took.Count(), failed, took.Quantile(0.99), byTime(calls, 30*time.Second))
}

// value is a point of one round.
func value(v float64, spin time.Duration) goals.Point {
	s := series{}
	s.add(v, spin)
	return s.point()
}

// profileLeases has the load once more on two new regions.
func (e *env) profileLeases(ctx context.Context, g *goals.Goal) error {
	f, c, k, err := e.leaseFleet(ctx, "leases-profiled")
	if err != nil {
		return err
	}
	defer f.Close()
	defer c.Close()
	e.profileMissed(ctx, g, profiledNodes(f.Regions[0].Nodes), func(string) work {
		return func(ctx context.Context, lasts time.Duration) error {
			k.drive(ctx, lasts)
			return nil
		}
	})
	return nil
}
