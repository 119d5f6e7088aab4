package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// run is a run under way.
type run struct {
	sides    []*side
	sessions map[string]map[int]*bench.Session // by side and connections
	keys     int
	rounds   int
	lasts    time.Duration
	say      io.Writer
	samples  map[*one]map[string][]sample
	spins    []float64
	dir      string // on the disk to measure; empty: it is not
	cases    []one
	syncs    []float64
}

// measure makes rounds of all cases on all sides, and ends early with ctx: the round that is not whole is left out.
// What it opened stays until close.
func (r *run) measure(ctx context.Context, cases []one) (whole bool, err error) {
	r.cases = cases
	if err := r.connect(ctx, cases); err != nil {
		return false, err
	}
	r.samples = map[*one]map[string][]sample{}
	for n := range r.rounds {
		round := map[*one]map[string]sample{}
		if err := r.sync(); err != nil {
			return false, err
		}
		for i := range cases {
			c := &cases[i]
			round[c] = map[string]sample{}
			for k := range r.sides {
				on := r.sides[(k+n+i)%len(r.sides)]
				if c.Unechoed && on.Name == "echo" {
					continue
				}
				s, err := r.one(ctx, c, on)
				if ctx.Err() != nil {
					return false, nil
				}
				if err != nil {
					return false, err
				}
				round[c][on.Name] = s
				fmt.Fprintf(r.say, "round %d of %d: %d clients: %s; spin %v, processor %v\n", n+1, r.rounds, c.Clients,
					s.Measurement, s.spin.Round(time.Millisecond), s.processor)
			}
		}
		for c, sides := range round {
			if r.samples[c] == nil {
				r.samples[c] = map[string][]sample{}
			}
			for name, s := range sides {
				r.samples[c][name] = append(r.samples[c][name], s)
			}
		}
	}
	return true, nil
}

// connect opens what connections the cases want, and waits for the servers.
func (r *run) connect(ctx context.Context, cases []one) error {
	r.sessions = map[string]map[int]*bench.Session{}
	for _, on := range r.sides {
		r.sessions[on.Name] = map[int]*bench.Session{}
		for i := range cases {
			c := &cases[i]
			if r.sessions[on.Name][c.Connections] != nil {
				continue
			}
			err := await(ctx, func() (err error) {
				r.sessions[on.Name][c.Connections], err = bench.Open(ctx, c.options(on.Side, r.keys, r.lasts))
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return r.fill(ctx)
}

// fill puts the keys on each side, once for all its sessions.
func (r *run) fill(ctx context.Context) error {
	for _, on := range r.sides {
		var first *bench.Session
		for _, s := range r.sessions[on.Name] {
			if first != nil {
				s.Filled(first)
				continue
			}
			first = s
			o := (&one{Operation: bench.Get, Clients: 100, Connections: 10}).options(on.Side, r.keys, time.Millisecond)
			if _, err := s.Measure(ctx, o, bench.Get); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) close() {
	for _, all := range r.sessions {
		for _, s := range all {
			if s != nil {
				s.Close()
			}
		}
	}
}

// one measures a case on a side, behind a piece of arithmetic and a load that is not counted.
func (r *run) one(ctx context.Context, c *one, on *side) (sample, error) {
	session := r.sessions[on.Name][c.Connections]
	s := sample{spin: bench.Spin()}
	r.spins = append(r.spins, float64(s.spin))
	if _, err := session.Measure(ctx, c.options(on.Side, r.keys, warmup), c.Operation); err != nil {
		return s, err
	}
	before, known := processorTime(on.pids)
	m, err := session.Measure(ctx, c.options(on.Side, r.keys, r.lasts), c.Operation)
	if err != nil {
		return s, err
	}
	if after, ok := processorTime(on.pids); ok && known {
		s.processor = after - before
	}
	s.Measurement = m
	return s, nil
}

// result sums up what was measured.
func (r *run) result(cases []one) Result {
	res := Result{Machine: bench.ThisMachine(), Keys: r.keys, Rounds: r.rounds, Lasting: r.lasts}
	res.Spin = bench.SpreadOf(r.spins)
	if len(r.syncs) > 0 {
		sync := bench.SpreadOf(r.syncs)
		res.Sync = &sync
	}
	for i := range cases {
		c := &cases[i]
		out := Case{Name: c.Name, Clients: c.Clients}
		for _, on := range r.sides {
			if samples := r.samples[c][on.Name]; len(samples) > 0 {
				out.Sides = append(out.Sides, figureOf(on.Name, samples))
			}
		}
		res.Cases = append(res.Cases, out)
	}
	return res
}

// sync measures the disk, once a round.
func (r *run) sync() error {
	if r.dir == "" {
		return nil
	}
	took, err := syncTime(r.dir)
	if err != nil {
		return fmt.Errorf("sync a file in %s: %w", r.dir, err)
	}
	r.syncs = append(r.syncs, float64(took))
	fmt.Fprintf(r.say, "fdatasync of 4 KiB: %v\n", took)
	return nil
}
