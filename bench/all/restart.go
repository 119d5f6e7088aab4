package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/bench/profile"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/localfleet"
)

// storeDir is where a node has its store, in its data directory.
const storeDir = "kv"

// measureRestart stops and kills a node with many keys, and makes checkpoints of its store.
func (e *env) measureRestart(ctx context.Context) (goals.Goal, error) {
	sizes, err := e.scale.sizes()
	if err != nil {
		return goals.JudgeRestart(goals.Restart{}), err
	}
	keys := sizes[len(sizes)-1]
	var stopped, killed, checkpoint series
	var did, waited goals.Profile
	s, err := e.space(ctx, keys)
	for n := 0; n < e.rounds && err == nil; n++ {
		err = e.restart(ctx, s, &stopped, &killed)
	}
	if err == nil {
		did, err = e.checkpoints(ctx, s, &checkpoint)
	}
	r := goals.Restart{Keys: keys}
	if err == nil {
		e.closeSpaces()
		waited, err = e.measureWaiting(ctx, keys, &r)
	}
	r.Stopped, r.Killed, r.Checkpoint = stopped.point(), killed.point(), checkpoint.point()
	g := goals.JudgeRestart(r)
	g.Profiles = missedOf(&g, []goals.Profile{
		{Load: "restart", Why: "a node that does not serve yet gives none"}, did, waited})
	return g, err
}

// restart stops and starts the node, then loads and kills it.
func (e *env) restart(ctx context.Context, s *space, stopped, killed *series) error {
	n := s.node()
	spin := bench.Spin()
	if status := n.Stop(); status != 0 {
		return fmt.Errorf("stopped with exit status %d: %s", status, n.LastWords())
	}
	took, err := ready(ctx, n)
	if err != nil {
		return err
	}
	stopped.add(took, spin)
	if s.now, err = s.change(ctx); err != nil {
		return err
	}
	spin = bench.Spin()
	n.Kill()
	if took, err = ready(ctx, n); err != nil {
		return err
	}
	killed.add(took, spin)
	fmt.Fprintf(e.say, "ready after %.0f ms, and after a kill %.0f\n", stopped.values[len(stopped.values)-1], took)
	return nil
}

// ready starts a node, and returns how long it takes until it says that it is ready, in milliseconds.
func ready(ctx context.Context, n *localfleet.Node) (float64, error) {
	began := time.Now()
	if err := n.Start(); err != nil {
		return 0, err
	}
	err := awaitEvery(ctx, 5*time.Millisecond, func() error {
		bounded, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		_, err := ask(bounded, "http://"+n.Config.ListenHTTP+"/readyz")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w; its last words: %s", err, n.LastWords())
	}
	return float64(time.Since(began)) / float64(time.Millisecond), nil
}

// checkpoints makes them of the store of a node that is stopped meanwhile, and says what this process did for them.
func (e *env) checkpoints(ctx context.Context, s *space, into *series) (goals.Profile, error) {
	n := s.node()
	did := goals.Profile{Load: "checkpoint"}
	if status := n.Stop(); status != 0 {
		return did, fmt.Errorf("stopped with exit status %d: %s", status, n.LastWords())
	}
	store, err := kv.Open(kv.Options{Dir: filepath.Join(n.Config.DataDir, storeDir), CacheBytes: 64 << 20,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return did, fmt.Errorf("open the store of a node: %w", err)
	}
	did, err = e.checkpointsOf(store, into)
	if err = errors.Join(err, store.Close()); err != nil {
		return did, err
	}
	_, err = ready(ctx, n)
	return did, err
}

// checkpointsOf makes them of an open store, and says what this process did for them.
func (e *env) checkpointsOf(store *kv.Store, into *series) (goals.Profile, error) {
	did, whole := goals.Profile{Load: "checkpoint"}, &profile.Profile{}
	dir := filepath.Join(e.work, "checkpoint")
	for range max(e.rounds, 3) {
		spin := bench.Spin()
		var taken bytes.Buffer
		if err := pprof.StartCPUProfile(&taken); err != nil {
			return did, err
		}
		began := time.Now()
		err := store.Checkpoint(dir)
		took := time.Since(began)
		pprof.StopCPUProfile()
		if err != nil {
			return did, err
		}
		into.add(float64(took)/float64(time.Millisecond), spin)
		one, err := profile.Parse(taken.Bytes())
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return did, err
		}
		whole.Merge(one)
	}
	shares, total := whole.Shares()
	did.Shares, did.Whole = shares, time.Duration(total)
	if len(shares) == 0 {
		did.Why = "next to no processor time: it waited for the disk"
	}
	return did, nil
}
