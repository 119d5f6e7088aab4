package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// loads are the cases as goals are judged by them.
func loads(r *Result) (all []goals.Load) {
	for i := range r.Cases {
		c := &r.Cases[i]
		all = append(all, goals.Load{Operation: c.Name, Clients: c.Clients, Mimir: sideOf(c.figure("mimir")),
			Etcd: sideOf(c.figure("etcd")), Echo: sideOf(c.figure("echo"))})
	}
	return all
}

func sideOf(f *Figure) *goals.Side {
	if f == nil {
		return nil
	}
	return &goals.Side{PerSecond: f.PerSecond, P50: f.P50, P99: f.P99, Longest: f.Longest,
		ProcessorRequest: f.PerRequest, Spin: f.Spin}
}

// judgeLoads judges the goals that the operations were measured for, and profiles what is missed on the servers that
// still run.
func (e *env) judgeLoads(ctx context.Context, r *run, result *Result) (all []goals.Goal) {
	measured := loads(result)
	puts := goals.Puts{Loads: measured}
	if result.Sync != nil {
		puts.Sync = *result.Sync
	}
	for number, goal := range map[int]goals.Goal{3: goals.JudgePuts(puts), 4: goals.JudgeGets(measured)} {
		if !e.chosen[number] {
			continue
		}
		goal.Size = fmt.Sprintf("three nodes of each, %d keys, rounds: %d", result.Keys, result.Rounds)
		goal.Because(notMeasured)
		if len(r.sides) > 0 {
			e.profileMissed(ctx, &goal, r.sides[0].profiled, r.again)
		}
		all = append(all, goal)
	}
	return all
}

// again is the load of a case on Mimir, by its name; nil if there is none.
func (r *run) again(load string) work {
	for i := range r.cases {
		c := &r.cases[i]
		if name := (&goals.Load{Operation: c.Name, Clients: c.Clients}).Name(); name != load {
			continue
		}
		ours := r.sides[0]
		return func(ctx context.Context, lasts time.Duration) error {
			session := r.sessions[ours.Name][c.Connections]
			_, err := session.Measure(ctx, c.options(ours.Side, r.keys, lasts), c.Operation)
			return err
		}
	}
	return nil
}

// residentOf is the memory of the servers of each side, in megabytes.
func residentOf(r *run) map[string]goals.Point {
	all := map[string]goals.Point{}
	for _, on := range r.sides {
		var s series
		if bytes, ok := residentBytes(on.pids); ok {
			s.add(float64(bytes)/megabyte, bench.Spin())
		}
		all[on.Name] = s.point()
	}
	return all
}
