package main

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// measurePuts measures puts at us while eu is stopped, and while it catches up, both behind a backlog that was written
// just before. Which comes first changes by round.
func (o *ocean) measurePuts(ctx context.Context, round int) error {
	options := bench.DefaultOptions()
	options.Sides = []bench.Side{{Name: "us", Endpoints: o.us.endpoints(), Dial: o.us.dial}}
	options.Operations, options.Clients, options.Connections = []string{bench.Put}, 8, 4
	options.Duration, options.Warmup = o.lasts, 0
	session, err := bench.Open(ctx, options)
	if err != nil {
		return err
	}
	defer session.Close()
	alone := func() (*bench.Measurement, error) {
		if _, err := o.leave(ctx, o.backlog*megabyte, valueBytes, noise); err != nil {
			return nil, err
		}
		return session.Measure(ctx, options, bench.Put)
	}
	behind := 0.0 // the part of the time in which the region was
	beside := func() (*bench.Measurement, error) {
		b, err := o.leave(ctx, o.backlog*megabyte, valueBytes, noise)
		if err != nil {
			return nil, err
		}
		if err := o.anew(ctx, nil); err != nil {
			return nil, err
		}
		looking, stop := context.WithCancel(ctx)
		began, ended := time.Now(), make(chan time.Duration, 1)
		go func() {
			_ = o.eu.reach(looking, b.to, func(int64) {}) // or until the measurement ends
			ended <- time.Since(began)
		}()
		m, err := session.Measure(ctx, options, bench.Put)
		took := time.Since(began)
		stop()
		behind = min(1, float64(<-ended)/float64(took))
		return m, err
	}
	var without, with *bench.Measurement
	if round%2 == 0 {
		without, err = alone()
	}
	if err == nil {
		with, err = beside()
	}
	if err == nil && without == nil {
		without, err = alone()
	}
	if err != nil {
		return err
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	o.note("put p99, no region follows", "ms", ms(without.P99))
	o.noteBeside("put p99, a region catches up", "ms", ms(with.P99), "that with none", ms(without.P99))
	o.note("time of that in which the region was behind", "%", 100*behind)
	o.note("puts a second, no region follows", "", without.PerSecond)
	o.noteBeside("puts a second, a region catches up", "", with.PerSecond, "those with none", without.PerSecond)
	return o.together(ctx)
}
