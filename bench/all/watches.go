package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/localfleet"
)

const (
	fewWatchers  = 10
	watchCallers = 64
	joins        = 200
)

// watched is what was measured on one node.
type watched struct {
	lost, twice, events    int
	reached                series // puts a second
	delay, few, many, each series // milliseconds, and bytes
}

// measureWatches has many watchers on a node of Mimir and on one of etcd.
func (e *env) measureWatches(ctx context.Context) (goals.Goal, error) {
	var ours, theirs watched
	w := goals.Watches{Watchers: e.scale.watchers, Ranges: max(e.scale.watchers/10, 1),
		Rate: float64(e.scale.watchRate),
		Few:  fewWatchers}
	f, c, err := startFleet(ctx, filepath.Join(e.work, "watches"), []string{e.mimir, "serve", "--pprof"}, 1, "here")
	if err == nil {
		defer f.Close()
		defer c.Close()
		err = e.watch(ctx, c, w.Ranges, &ours, f.Nodes()[0])
	}
	w.Lost, w.Twice, w.Events, w.Reached = ours.lost, ours.twice, ours.events, ours.reached.point()
	w.Delay, w.Bytes, w.JoinFew, w.Join = ours.delay.point(), ours.each.point(), ours.few.point(), ours.many.point()
	if err == nil {
		err = e.watchEtcd(ctx, w.Ranges, &theirs)
		w.EtcdDelay = theirs.delay.point()
	}
	g := goals.JudgeWatches(w)
	if c != nil && len(g.MissedLoads()) > 0 {
		err = errors.Join(err, e.profileWatches(ctx, &g, c, w.Ranges, f.Nodes()))
	}
	return g, err
}

// watchEtcd does the same on a node of etcd.
func (e *env) watchEtcd(ctx context.Context, ranges int, into *watched) error {
	began := &servers{dir: e.work}
	defer began.end()
	theirs, err := began.etcd(e.etcd, "watched", 1)
	if err != nil {
		return err
	}
	c, err := dial(ctx, theirs.Endpoints)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer c.Close()
	if err := e.watch(ctx, c, ranges, into, nil); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// watch joins and leaves among few watchers, then among many, and puts while those watch. The memory of a node is
// looked at if it is one of Mimir's.
func (e *env) watch(ctx context.Context, c *clientv3.Client, ranges int, into *watched, node *localfleet.Node) error {
	few, err := gather(ctx, c, fewWatchers, 1)
	if err != nil {
		return err
	}
	err = e.comeAndGo(ctx, c, &into.few)
	few.close()
	if err != nil {
		return err
	}
	before, err := memory(ctx, node)
	if err != nil {
		return err
	}
	began := time.Now()
	many, err := gather(ctx, c, e.scale.watchers, ranges)
	if err != nil {
		return err
	}
	defer many.close()
	fmt.Fprintf(e.say, "%d watchers joined in %v\n", e.scale.watchers, time.Since(began).Round(time.Millisecond))
	after, err := memory(ctx, node)
	if err != nil {
		return err
	}
	if after > before {
		into.each.add(float64(after-before)/float64(e.scale.watchers), bench.Spin())
	}
	if err := e.comeAndGo(ctx, c, &into.many); err != nil {
		return err
	}
	return e.putToWatchers(ctx, many, into)
}

// putToWatchers puts at the rate, and sums up what came.
func (e *env) putToWatchers(ctx context.Context, many *crowd, into *watched) error {
	spin := bench.Spin()
	lasts := 10 * e.scale.lasts
	took, failed := answers(many.drive(ctx, float64(e.scale.watchRate), lasts))
	many.settle(ctx)
	due, came := many.due(), many.came()
	many.close()
	if failed > 0 || due == 0 {
		return fmt.Errorf("%d puts failed, %d events were due", failed, due)
	}
	var delay bench.Histogram
	for _, s := range many.streams {
		delay.Merge(&s.delay)
		into.twice += s.twice
	}
	into.events, into.lost = int(came), int(max(due-came, 0))
	into.twice = max(into.twice, int(came-due))
	into.reached.add(float64(took.Count())/lasts.Seconds(), spin)
	into.delay.add(float64(delay.Quantile(0.5))/float64(time.Millisecond), spin)
	fmt.Fprintf(e.say, "%d events of %d, median %v, p99 %v\n", came, due, delay.Quantile(0.5), delay.Quantile(0.99))
	return ctx.Err()
}

// drive puts at a rate, each caller to ranges of its own.
func (w *crowd) drive(ctx context.Context, perSecond float64, lasts time.Duration) []call {
	var next atomic.Int64
	return paced{perSecond, watchCallers, callWithin}.drive(ctx, lasts, func(ctx context.Context, _ int) error {
		return w.put(ctx, int(next.Add(1))%w.ranges)
	})
}

// comeAndGo joins and leaves on a stream of its own, in rounds.
func (e *env) comeAndGo(ctx context.Context, c *clientv3.Client, into *series) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(c.ActiveConnection()).Watch(ctx)
	if err != nil {
		return err
	}
	for range e.rounds {
		spin := bench.Spin()
		var took bench.Histogram
		for n := range joins {
			start := time.Now()
			if err := joinAndLeave(stream, fmt.Sprintf("come-and-go/%d/", n)); err != nil {
				return fmt.Errorf("join and leave: %w", err)
			}
			took.Add(time.Since(start))
		}
		into.add(float64(took.Quantile(0.5))/float64(time.Millisecond), spin)
	}
	return nil
}

func joinAndLeave(stream pb.Watch_WatchClient, prefix string) error {
	s := &watchStream{stream: stream}
	if err := s.join(prefix); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	if !answer.Created || answer.Canceled {
		return fmt.Errorf("a watch that was not created: %s", answer.CancelReason)
	}
	if err := s.leave(answer.WatchId); err != nil {
		return err
	}
	for !answer.Canceled {
		if answer, err = stream.Recv(); err != nil {
			return err
		}
	}
	return nil
}

// memory is the heap and the stacks that a node of Mimir has in use after a collection; 0 of none.
func memory(ctx context.Context, node *localfleet.Node) (int64, error) {
	if node == nil {
		return 0, nil
	}
	base := "http://" + node.Config.ListenHTTP
	if _, err := ask(ctx, base+"/debug/pprof/heap?gc=1"); err != nil {
		return 0, err
	}
	text, err := ask(ctx, base+"/debug/vars")
	if err != nil {
		return 0, err
	}
	var vars struct {
		Memstats struct{ HeapAlloc, StackInuse int64 } `json:"memstats"`
	}
	if err := json.Unmarshal(text, &vars); err != nil {
		return 0, fmt.Errorf("%s/debug/vars: %w", base, err)
	}
	return vars.Memstats.HeapAlloc + vars.Memstats.StackInuse, nil
}

// profileWatches has the watchers come once more, and takes profiles meanwhile.
func (e *env) profileWatches(ctx context.Context, g *goals.Goal, c *clientv3.Client, ranges int,
	nodes []*localfleet.Node) error {
	many, err := gather(ctx, c, e.scale.watchers, ranges)
	if err != nil {
		return err
	}
	defer many.close()
	e.profileMissed(ctx, g, profiledNodes(nodes), func(load string) work {
		if load == goals.Joining {
			return func(ctx context.Context, _ time.Duration) error { return e.comeAndGo(ctx, c, &series{}) }
		}
		return func(ctx context.Context, lasts time.Duration) error {
			many.drive(ctx, float64(e.scale.watchRate), lasts)
			return nil
		}
	})
	return nil
}
