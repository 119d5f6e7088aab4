package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/witness"
)

const (
	// fleetAgain is after what time a fleet that is not served is tried again.
	fleetAgain = 10 * time.Second
	// fleetReminder is how often the log is told of it while the reason stays the same.
	fleetReminder = 10 * time.Minute
)

// crew are the voters of one process. What ends one, its disk as a rule, does not touch the others: the fleet is not
// served then, and is tried again. When none is left the process ends, and whoever started it is told.
type crew struct {
	options *WitnessOptions
	ports   *witnessPorts
	again   time.Duration
	turned  chan struct{} // a seat has changed

	mu    sync.Mutex
	seats []*seat
}

// seat is one voter of a crew: it serves, or there is a reason why not, or it has just begun.
type seat struct {
	fleet, name string
	dir         string // where it has served before
	witness     *witness.Witness
	why         error
}

func newCrew(o WitnessOptions, p *witnessPorts) *crew {
	c := &crew{options: &o, ports: p, again: cmp.Or(o.again, fleetAgain), turned: make(chan struct{})}
	for _, f := range o.Fleets {
		c.seats = append(c.seats, &seat{fleet: f.ID, name: f.Name})
	}
	return c
}

func (c *crew) run(ctx context.Context) (err error) {
	inner, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	ends := make([]error, len(c.seats))
	for i, s := range c.seats {
		work.Go(func() { ends[i] = c.keep(inner, s) })
	}
	web := c.serveHTTP()
	defer func() {
		cancel()
		work.Wait()
		err = errors.Join(append(ends, err, c.ports.close())...)
		<-web
	}()
	accepts := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.turned:
		}
		serving, failure := c.state()
		if failure != nil {
			return failure
		}
		if serving > 0 && !accepts {
			accepts = true
			c.ports.fleets.Serve()
		}
	}
}

// state returns how many serve, and why none does and will.
func (c *crew) state() (serving int, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := 0
	for _, s := range c.seats {
		switch {
		case s.witness != nil:
			serving++
		case s.why != nil && failed == 0:
			failed, failure = failed+1, s.why
		case s.why != nil:
			failed, failure = failed+1, fmt.Errorf("%w; %w", failure, s.why)
		}
	}
	if failed < len(c.seats) {
		return serving, nil
	}
	return 0, failure
}

// turn notes what has become of a seat.
func (c *crew) turn(ctx context.Context, s *seat, w *witness.Witness, why error) {
	c.mu.Lock()
	s.witness, s.why = w, why
	c.mu.Unlock()
	select {
	case c.turned <- struct{}{}:
	case <-ctx.Done():
	}
}

// keep has a fleet served until ctx ends.
func (c *crew) keep(ctx context.Context, s *seat) error {
	told, last := time.Time{}, ""
	for {
		dir, w, err := c.start(s)
		if err == nil {
			s.dir = dir
			c.turn(ctx, s, w, nil)
			select {
			case <-ctx.Done():
				return w.Shutdown()
			case <-w.Failed():
			}
			err = fmt.Errorf("witness %s stopped: %w", s.name, w.Err())
			_ = w.Shutdown() // after the failure, which says more
			last = ""
		}
		err = aWitness.explained(dir, err)
		if len(c.seats) > 1 {
			if now := time.Now(); err.Error() != last || now.Sub(told) >= fleetReminder {
				c.options.Logger.Error("fleet is not served; the others are not touched", "fleet", s.fleet, "again in",
					c.again, "err", err)
				told, last = now, err.Error()
			}
			err = fmt.Errorf("fleet %s: %w", s.fleet, err)
		}
		c.turn(ctx, s, nil, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.again):
		}
	}
}

// start begins to serve a fleet.
func (c *crew) start(s *seat) (dir string, w *witness.Witness, err error) {
	o := c.options
	if s.dir != "" && !witness.Used(durable.OS, s.dir) {
		return s.dir, nil, fmt.Errorf("%w: it is empty now, and the votes of fleet %s were in it: mount it again, or "+
			"replace the witness by one of another name", replication.ErrDiskLost, s.fleet)
	}
	if dir, err = o.place(s.fleet); err != nil {
		return dir, nil, err
	}
	fs, err := o.open(dir)
	if err != nil {
		return dir, nil, err
	}
	t, err := c.ports.fleets.Transport(s.fleet)
	if err != nil {
		return dir, nil, err
	}
	w, err = witness.Start(witness.Config{
		Name: s.name, FleetID: s.fleet, DataDir: dir, FS: fs, Logger: o.Logger,
	}, t)
	return dir, w, err
}
