package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/localfleet"
)

// A put of these is so large that there are some checkpoints a measurement.
const (
	waitingValue   = 4 << 10
	waitingRate    = 500
	waitingCallers = 16
	checkpointEach = "1MiB"
	waitingLasts   = 5 * time.Second // a node looks every two seconds whether a checkpoint is due
	marksDir       = "rewind/marks"  // in the data directory of a node
)

// waiting is puts at a node with many keys, with and without checkpoints that it makes of its own state.
type waiting struct {
	*env
	node          *localfleet.Node
	without, with series // p99 in milliseconds
	longest       series // with
	made          int
}

// measureWaiting starts a node that makes checkpoints, which only nodes of a fleet of several regions do, and puts at
// it with and without them.
func (e *env) measureWaiting(ctx context.Context, keys int, r *goals.Restart) (did goals.Profile, err error) {
	w := &waiting{env: e}
	command := []string{e.mimir, "serve", "--pprof", "--retain-bytes", "64MiB"}
	f, c, err := startFleet(ctx, filepath.Join(e.work, "waiting"), command, 1, "us", "eu")
	if err != nil {
		return did, err
	}
	defer f.Close()
	f.Region("eu").Nodes[0].Stop()
	_, err = fill(ctx, c, keys, spaceValue, spaceKey)
	c.Close()
	if err != nil {
		return did, err
	}
	w.node = f.Region("us").Nodes[0]
	for range e.rounds {
		for _, each := range []string{"0", checkpointEach} {
			w.node.Command = append(slices.Clone(command), "--checkpoint-bytes", each)
			if err := w.round(ctx, each != "0"); err != nil {
				return did, err
			}
		}
	}
	r.Without, r.With, r.Longest, r.Made = w.without.point(), w.with.point(), w.longest.point(), w.made
	c, err = dial(ctx, []string{w.node.Config.ListenClient})
	if err != nil {
		return did, err
	}
	defer c.Close()
	return e.profile(ctx, goals.BesideCheckpoints, profiledNodes([]*localfleet.Node{w.node}),
		func(ctx context.Context, lasts time.Duration) error {
			w.puts(ctx, c, lasts)
			return nil
		}), nil
}

// round starts the node anew, and puts.
func (w *waiting) round(ctx context.Context, checkpoints bool) error {
	if status := w.node.Stop(); status != 0 {
		return fmt.Errorf("stopped with exit status %d: %s", status, w.node.LastWords())
	}
	if _, err := ready(ctx, w.node); err != nil {
		return err
	}
	c, err := dial(ctx, []string{w.node.Config.ListenClient})
	if err != nil {
		return err
	}
	defer c.Close()
	spin := bench.Spin()
	before := w.marks()
	calls, seen := w.puts(ctx, c, waitingLasts)
	took, failed := answers(calls)
	if failed > 0 || took.Count() == 0 {
		return fmt.Errorf("%d puts failed, %d were answered", failed, took.Count())
	}
	p99 := float64(took.Quantile(0.99)) / float64(time.Millisecond)
	if !checkpoints {
		w.without.add(p99, spin)
		return nil
	}
	w.with.add(p99, spin)
	w.longest.add(float64(took.Quantile(1))/float64(time.Millisecond), spin)
	for name := range seen {
		if !before[name] {
			w.made++
		}
	}
	fmt.Fprintf(w.say, "p99 of puts while checkpoints are made: %v, %d so far\n", took.Quantile(0.99), w.made)
	return nil
}

// puts puts, and looks which checkpoints there are meanwhile.
func (w *waiting) puts(ctx context.Context, c *clientv3.Client, lasts time.Duration) ([]call, map[string]bool) {
	looking, stop := context.WithCancel(ctx)
	ended, seen := make(chan struct{}), map[string]bool{}
	go func() {
		defer close(ended)
		for until(looking, time.Now().Add(lookEach)) {
			maps.Copy(seen, w.marks())
		}
	}()
	random := make([]*rand.Rand, waitingCallers)
	for i := range random {
		random[i] = rand.New(rand.NewPCG(uint64(i), 19))
	}
	calls := paced{waitingRate, waitingCallers, callWithin}.drive(ctx, lasts,
		func(ctx context.Context, caller int) error {
			r := random[caller]
			_, err := c.Put(ctx, fmt.Sprintf("put/%06d", r.IntN(w.keys)), text(r, waitingValue))
			return err
		})
	stop()
	<-ended
	return calls, seen
}

// marks are the checkpoints that are there.
func (w *waiting) marks() map[string]bool {
	all := map[string]bool{}
	entries, _ := os.ReadDir(filepath.Join(w.node.Config.DataDir, marksDir)) // none yet
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") { // which is not whole
			all[e.Name()] = true
		}
	}
	return all
}
