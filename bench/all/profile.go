package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/bench/goals"
	"github.com/mimir-kv/mimir/bench/profile"
	"github.com/mimir-kv/mimir/localfleet"
)

// profiled is where a node gives profiles.
type profiled string

// profiledNodes are those of Mimir that this run started.
func profiledNodes(nodes []*localfleet.Node) (all []profiled) {
	for _, n := range nodes {
		all = append(all, profiled(n.Config.ListenHTTP))
	}
	return all
}

// profile is what the nodes, all together, do under a load that goes on for so long.
func (e *env) profile(ctx context.Context, load string, nodes []profiled, do work) goals.Profile {
	fmt.Fprintf(e.say, "profile of %s\n", load)
	loading, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- repeat(loading, e.scale.profiled, do) }()
	whole := &profile.Profile{}
	var mutex sync.Mutex
	var all sync.WaitGroup
	failed := make([]error, len(nodes))
	for i, n := range nodes {
		all.Go(func() {
			p, err := n.take(ctx, e.scale.profiled)
			if err != nil {
				failed[i] = err
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			whole.Merge(p)
		})
	}
	all.Wait()
	stop()
	err := errors.Join(append(failed, <-ended)...)
	out := goals.Profile{Load: load}
	shares, total := whole.Shares()
	out.Shares, out.Whole = shares, time.Duration(total)
	if len(shares) == 0 {
		out.Why = "the nodes did nothing"
	}
	if err != nil {
		out.Why = err.Error()
	}
	return out
}

// repeat does work until ctx ends, whose end is no error.
func repeat(ctx context.Context, lasts time.Duration, do work) error {
	for ctx.Err() == nil {
		if err := do(ctx, lasts); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// take is a profile of one node's processor time.
func (p profiled) take(ctx context.Context, lasts time.Duration) (*profile.Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, lasts+callWithin)
	defer cancel()
	return p.fetch(ctx, fmt.Sprintf("profile?seconds=%d", max(1, int(lasts.Seconds()))))
}

// heap is who had asked for what the heaps of nodes hold, all together.
func heap(ctx context.Context, load string, nodes ...profiled) goals.Profile {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	out := goals.Profile{Load: load}
	whole := &profile.Profile{}
	for _, n := range nodes {
		held, err := n.fetch(ctx, "heap")
		if err != nil {
			out.Why = err.Error()
			return out
		}
		whole.Merge(held)
	}
	out.Shares, out.Heap = whole.Shares()
	return out
}

func (p profiled) fetch(ctx context.Context, name string) (*profile.Profile, error) {
	text, err := ask(ctx, fmt.Sprintf("http://%s/debug/pprof/%s", p, name))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return profile.Parse(text)
}

// ask is what a node answers over HTTP.
func ask(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return text, err
}
