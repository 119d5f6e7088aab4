package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/localfleet"
)

// duo is a primary of one node, and a second region of one node that comes and goes.
type duo struct {
	*env
	fleet  *localfleet.Fleet
	us, eu *localfleet.Node
	client *clientv3.Client // of us
	there  *clientv3.Client // of eu
	phases map[string]*phase
}

// phase is what was measured so far under a name.
type phase struct{ processor, p99 series }

// Phases of a round.
const (
	alone      = "alone"
	following  = "puts while it follows"
	catchingUp = "puts while it catches up"
)

const (
	secondCallers = 32
	backlogValue  = 1 << 10
)

// measureSecond puts at a rate with and without a second region.
func (e *env) measureSecond(ctx context.Context) (goals.Goal, error) {
	cpus, undo := pin()
	defer undo()
	far, remove := newFarther()
	defer remove()
	d := &duo{env: e, phases: map[string]*phase{alone: {}, following: {}, catchingUp: {}}}
	defer d.close()
	err := d.start(ctx, cpus, far)
	for n := 0; n < e.rounds && err == nil; n++ {
		err = d.round(ctx, n)
	}
	of := func(name string) goals.Phase {
		return goals.Phase{Processor: d.phases[name].processor.point(), P99: d.phases[name].p99.point()}
	}
	g := goals.JudgeSecond(goals.Second{Rate: float64(e.scale.secondRate), BehindMegabytes: e.scale.backlog,
		Pinned: cpus.tool != "", Apart: far.dir != "",
		Alone: of(alone), Following: of(following), CatchingUp: of(catchingUp)})
	if err == nil {
		e.profileMissed(ctx, &g, profiledNodes([]*localfleet.Node{d.us}), func(load string) work {
			return d.again(ctx, load)
		})
	}
	return g, err
}

// start starts both regions, each pinned, and the second one as far away as may be.
func (d *duo) start(ctx context.Context, cpus pinning, far farther) (err error) {
	dir, command := filepath.Join(d.work, "second"), []string{d.mimir, "serve", "--pprof"}
	d.fleet, err = localfleet.New(localfleet.Options{
		Dir: dir, Command: command, Regions: []string{"us", "eu"}, Nodes: 1,
		Direct: true, Place: far.place(dir, "eu-1")})
	if err != nil {
		return fmt.Errorf("lay out two regions: %w", err)
	}
	d.us, d.eu = d.fleet.Region("us").Nodes[0], d.fleet.Region("eu").Nodes[0]
	d.us.Command, d.eu.Command = cpus.primary(command), cpus.others(behind(command))
	if err = localfleet.Start(d.fleet.Nodes()); err != nil {
		return err
	}
	if d.client, err = dial(ctx, []string{d.us.Config.ListenClient}); err != nil {
		return fmt.Errorf("%w; last words of the primary: %s", err, d.us.LastWords())
	}
	if err = d.connect(ctx); err != nil {
		return err
	}
	return d.together(ctx)
}

// connect opens a new client of the second region, as soon as that listens: an old one would wait before it tries
// again.
func (d *duo) connect(ctx context.Context) (err error) {
	if d.there != nil {
		d.there.Close()
	}
	addr := d.eu.Config.ListenClient
	err = awaitEvery(ctx, 5*time.Millisecond, func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the second region: %w; its last words: %s", err, d.eu.LastWords())
	}
	d.there, err = clientv3.New(clientConfig(ctx, []string{addr}))
	return err
}

func (d *duo) close() {
	for _, c := range []*clientv3.Client{d.client, d.there} {
		if c != nil {
			c.Close()
		}
	}
	if d.fleet != nil {
		d.fleet.Close()
	}
}

// together waits until the second region has what the first one has now.
func (d *duo) together(ctx context.Context) error {
	want, err := revision(ctx, d.client)
	if err != nil {
		return err
	}
	for {
		bounded, done := context.WithTimeout(ctx, time.Second)
		is, err := revision(bounded, d.there, clientv3.WithSerializable())
		done()
		if err == nil && is >= want {
			return nil
		}
		if !until(ctx, time.Now().Add(20*time.Millisecond)) {
			return fmt.Errorf("the second region is at revision %d of %d (%w), its last words: %s", is, want,
				context.Cause(ctx), d.eu.LastWords())
		}
	}
}

// round measures each phase once: the second region is gone, is behind and comes, and follows. What the primary has to
// do behind the backlog is done before, so that it is in none of them.
func (d *duo) round(ctx context.Context, n int) error {
	lasts := 10 * d.scale.lasts
	d.eu.Stop()
	if err := d.backlog(ctx, n); err != nil {
		return err
	}
	if err := atRest(ctx, d.us.PID()); err != nil {
		return err
	}
	if err := d.phase(ctx, alone, lasts); err != nil {
		return err
	}
	if err := d.catchUp(ctx, lasts); err != nil {
		return err
	}
	return d.phase(ctx, following, lasts)
}

// backlog writes what the second region will lack.
func (d *duo) backlog(ctx context.Context, n int) error {
	key := func(k int) string { return fmt.Sprintf("backlog/%d/%08d", n%2, k) }
	_, err := fill(ctx, d.client, max(d.scale.backlog*megabyte/backlogValue, 1), backlogValue, key)
	return err
}

// catchUp starts the second region, and measures until it has caught up, but no longer.
func (d *duo) catchUp(ctx context.Context, lasts time.Duration) error {
	spin := bench.Spin()
	if err := d.eu.Start(); err != nil {
		return err
	}
	if err := d.connect(ctx); err != nil {
		return err
	}
	measuring, stop := context.WithCancel(ctx)
	caught := make(chan error, 1)
	go func() {
		caught <- d.together(ctx)
		stop()
	}()
	err := d.measure(measuring, catchingUp, lasts, spin)
	if late := <-caught; err == nil {
		err = late
	}
	return err
}

func (d *duo) phase(ctx context.Context, name string, lasts time.Duration) error {
	return d.measure(ctx, name, lasts, bench.Spin())
}

// measure puts at the rate, and notes what that cost the primary.
func (d *duo) measure(ctx context.Context, name string, lasts time.Duration, spin time.Duration) error {
	pid := d.us.PID()
	before, known := threadsTime(pid)
	took, failed := answers(d.puts(ctx, lasts))
	after, ok := threadsTime(pid)
	if failed > 0 || took.Count() == 0 {
		return fmt.Errorf("%s: %d puts failed, %d were answered", name, failed, took.Count())
	}
	p := d.phases[name]
	if known && ok {
		p.processor.add(float64(after-before)/float64(time.Microsecond)/float64(took.Count()), spin)
	}
	p.p99.add(float64(took.Quantile(0.99))/float64(time.Millisecond), spin)
	fmt.Fprintf(d.say, "%s: %d puts, p99 %v, processor %v\n", name, took.Count(), took.Quantile(0.99), after-before)
	return nil
}

func (d *duo) puts(ctx context.Context, lasts time.Duration) []call {
	random := make([]*rand.Rand, secondCallers)
	for i := range random {
		random[i] = rand.New(rand.NewPCG(uint64(i), 7))
	}
	return paced{float64(d.scale.secondRate), secondCallers, callWithin}.drive(ctx, lasts,
		func(ctx context.Context, caller int) error {
			r := random[caller]
			_, err := d.client.Put(ctx, fmt.Sprintf("put/%06d", r.IntN(d.keys)), text(r, valueBytes))
			return err
		})
}

// again is the load of a phase, which is prepared here.
func (d *duo) again(ctx context.Context, load string) work {
	if load != catchingUp {
		return func(ctx context.Context, lasts time.Duration) error {
			d.puts(ctx, lasts)
			return nil
		}
	}
	d.eu.Stop()
	err := d.backlog(ctx, 0)
	if err == nil {
		err = atRest(ctx, d.us.PID())
	}
	if err == nil {
		err = d.eu.Start()
	}
	return func(ctx context.Context, lasts time.Duration) error {
		if err == nil {
			d.puts(ctx, lasts)
		}
		return err
	}
}
