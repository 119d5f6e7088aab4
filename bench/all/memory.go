package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/localfleet"
)

const (
	largeValue  = 4 << 10
	largePrefix = "large/"
	mebibyte    = 1 << 20
	lookEach    = 50 * time.Millisecond
)

// larger is a node whose state is larger than its memory, with a second region that is away while that is written.
type larger struct {
	*duo
	keys int
	was  int64
}

func largeKey(n int) string { return fmt.Sprintf("%s%09d", largePrefix, n) }

// step is something that is done with the state, by one node of which the memory is watched.
type step struct {
	name  string
	of    *localfleet.Node
	do    func(ctx context.Context) error
	again bool // it is done again and again, and timed each time
	since bool // its memory is the most since the process started, which it does itself
}

// measureMemory writes a state several times the budget of a node, and works with it.
func (e *env) measureMemory(ctx context.Context) (goals.Goal, error) {
	l := &larger{duo: &duo{env: e}}
	defer l.close()
	bytes := e.scale.budget * e.scale.state * megabyte
	l.keys = max(bytes/largeValue, together)
	m := goals.Memory{BudgetMegabytes: e.scale.budget, StateMegabytes: bytes / megabyte, Keys: e.keys,
		Mimir: e.resident["mimir"], Etcd: e.resident["etcd"]}
	held := e.held
	err := l.start(ctx)
	for _, s := range l.steps() {
		p := goals.Phased{Name: s.name}
		if err == nil {
			p.Took, p.Peak, err = e.step(ctx, s)
			err = l.goOn(ctx, &p, err)
			held = append(held, heap(ctx, s.name, profiled(s.of.Config.ListenHTTP)))
		}
		m.Phases = append(m.Phases, p)
	}
	g := goals.JudgeMemory(m)
	g.Profiles = missedOf(&g, held)
	if err == nil {
		g.Because(notMeasured)
	}
	return g, err
}

// goOn keeps an error in the figure and goes on, unless the time is up or the node is gone.
func (l *larger) goOn(ctx context.Context, p *goals.Phased, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !l.us.Running() {
		return fmt.Errorf("%s: the node is gone: %w; its last words: %s", p.Name, err, l.us.LastWords())
	}
	p.Took.Failed = err.Error()
	return nil
}

// start starts two regions of a node each, which have their budget.
func (l *larger) start(ctx context.Context) (err error) {
	budget := l.scale.budget * megabyte / mebibyte
	l.fleet, l.client, err = startFleetOf(ctx, localfleet.Options{
		Dir: filepath.Join(l.work, "memory"), Regions: []string{"us", "eu"}, Nodes: 1,
		Command: []string{l.mimir, "serve", "--pprof", "--retain-bytes", "32MiB", "--compact-bytes", "16MiB"},
		Memory:  fmt.Sprintf("%dMiB", budget),
	})
	if err != nil {
		return err
	}
	l.us, l.eu = l.fleet.Region("us").Nodes[0], l.fleet.Region("eu").Nodes[0]
	if err = l.connect(ctx); err == nil {
		err = l.together(ctx)
	}
	l.eu.Stop()
	return err
}

// steps are all of them, in order.
func (l *larger) steps() []step {
	random := rand.New(rand.NewPCG(13, 17))
	get := func(ctx context.Context, options ...clientv3.OpOption) error {
		answer, err := l.client.Get(ctx, largeKey(random.IntN(l.keys)), options...)
		if err == nil && len(answer.Kvs) == 0 {
			err = errors.New("no keys")
		}
		return err
	}
	to := clientv3.WithRange(clientv3.GetPrefixRangeEnd(largePrefix))
	return []step{
		{"puts of the whole state, with checkpoints meanwhile", l.us, l.fill, false, false},
		{"put", l.us, func(ctx context.Context) error {
			_, err := l.client.Put(ctx, largeKey(random.IntN(l.keys)), text(random, largeValue))
			return err
		}, true, false},
		{"get of a key", l.us, func(ctx context.Context) error { return get(ctx) }, true, false},
		{"page of 500", l.us, func(ctx context.Context) error {
			return get(ctx, to, clientv3.WithLimit(pageOf))
		}, true, false},
		{"page of 500 at an old revision", l.us, func(ctx context.Context) error {
			return get(ctx, to, clientv3.WithLimit(pageOf), clientv3.WithRev(l.was))
		}, true, false},
		{"watch from an old revision", l.us, l.watchPast, false, false},
		{"compaction", l.us, func(ctx context.Context) error {
			is, err := revision(ctx, l.client)
			if err == nil {
				_, err = l.client.Compact(ctx, is, clientv3.WithCompactPhysical())
			}
			return err
		}, false, false},
		{"restart", l.us, func(ctx context.Context) error {
			if status := l.us.Stop(); status != 0 {
				return fmt.Errorf("stopped with exit status %d: %s", status, l.us.LastWords())
			}
			_, err := ready(ctx, l.us)
			return err
		}, false, true},
		{"bootstrap of a second region, the source", l.us, l.bootstrap, false, false},
		{"bootstrap of a second region, the copy", l.eu, func(ctx context.Context) error {
			_, err := revision(ctx, l.there, clientv3.WithSerializable())
			return err
		}, false, true},
	}
}

// fill writes the state, and notes the revision at which it was there first.
func (l *larger) fill(ctx context.Context) (err error) {
	l.was, err = fill(ctx, l.client, l.keys, largeValue, largeKey)
	return err
}

// watchPast reads what was written last, up to now.
func (l *larger) watchPast(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	is, err := revision(ctx, l.client)
	if err != nil {
		return err
	}
	from := max(is-int64(l.keys/together/10), 1)
	for answer := range l.client.Watch(ctx, largePrefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := answer.Err(); err != nil {
			return err
		}
		for _, event := range answer.Events {
			if event.Kv.ModRevision >= is {
				return nil
			}
		}
	}
	return fmt.Errorf("the watch ended: %w", context.Cause(ctx))
}

// bootstrap starts the second region, which lacks more than the log has.
func (l *larger) bootstrap(ctx context.Context) error {
	err := l.eu.Start()
	if err == nil {
		err = l.connect(ctx)
	}
	if err == nil {
		err = l.together(ctx)
	}
	return err
}

// step does something, times it, and looks at the memory meanwhile.
func (e *env) step(ctx context.Context, s step) (took, peak goals.Point, err error) {
	spin := bench.Spin()
	looking, stop := context.WithCancel(ctx)
	defer stop()
	most := make(chan int64, 1)
	pid := s.of.PID()
	go func() { most <- watchMemory(looking, pid) }()
	var times bench.Histogram
	for began := time.Now(); ; {
		start := time.Now()
		if err = s.do(ctx); err != nil {
			return took, peak, err
		}
		times.Add(time.Since(start))
		if !s.again || time.Since(began) > 10*e.scale.lasts {
			break
		}
	}
	stop()
	bytes := <-most
	if s.since {
		bytes, _ = statusBytes(s.of.PID(), memoryPeak)
	}
	took = value(float64(times.Quantile(0.5))/float64(time.Millisecond), spin)
	if bytes > 0 {
		peak = value(float64(bytes)/megabyte, spin)
	}
	fmt.Fprintf(e.say, "%s: %.3g ms, at most %d MB\n", s.name, took.Value.Median, bytes/megabyte)
	return took, peak, nil
}

// watchMemory is the most that a process had resident until ctx ends.
func watchMemory(ctx context.Context, pid int) (most int64) {
	for {
		if bytes, ok := statusBytes(pid, memoryNow); ok {
			most = max(most, bytes)
		}
		if !until(ctx, time.Now().Add(lookEach)) {
			return most
		}
	}
}
