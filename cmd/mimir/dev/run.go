package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/localfleet"
)

// Defaults of a new fleet.
var DefaultRegions = []string{"us", "eu"}

// DefaultNodes is how many nodes each region of a new fleet has.
const DefaultNodes = 3

const readyTimeout = 60 * time.Second

// Options of a fleet on this machine.
type Options struct {
	Dir      string        // where everything is kept; made absolute by Run
	Regions  []string      // nil: those of an earlier run in Dir, or DefaultRegions
	Nodes    int           // of each region; 0: as many as in the earlier run, or DefaultNodes
	WANDelay time.Duration // one way, between regions

	// Witness is the command that runs a witness; nil: there is none, or that of an earlier run.
	Witness []string
	// Serve is the command that runs a node, to which "--config FILE" is added.
	Serve []string
	// Ready reports whether the fleet serves; its text says what is still missing. unheard says who was not heard yet
	// over the links, "" if all were: until then they may be asked around these.
	Ready func(ctx context.Context, f *Fleet, unheard string) (waitingFor string)
	// Called is how mimir is called here, for commands to copy.
	Called string
	// OnReady is told once, with the time it took.
	OnReady func(f *Fleet, took time.Duration)
	// Out receives what happens, one event a line.
	Out io.Writer
}

// Run starts the fleet and returns when ctx has ended and everything is stopped; a close of hurry makes the stop
// abrupt. It returns an error if the fleet cannot be started.
func Run(ctx context.Context, o Options, hurry <-chan struct{}) (err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	lock, err := vfs.Default.Lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("another mimir dev uses %s: end it, or name another --data-dir: %w", o.Dir, err)
	}
	defer lock.Close()
	saved, err := load(o.Dir)
	if err != nil {
		return err
	}
	if saved != nil {
		if err := saved.check(&o); err != nil {
			return err
		}
	}
	ports := localfleet.PortsFrom(firstPort)
	defer ports.Close()
	f, err := o.layOut(saved, ports)
	if err != nil {
		return err
	}
	defer f.Close()
	return o.run(ctx, f, hurry)
}

func (o *Options) run(ctx context.Context, local *localfleet.Fleet, hurry <-chan struct{}) error {
	began := time.Now()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newCrew(watching, o.Dir, cmp.Or(o.Called, "mimir"), local)
	defer localfleet.Stop(c.all, hurry)
	if err := c.startAll(); err != nil {
		return err
	}
	f := c.describe()
	if err := f.save(o.Dir); err != nil {
		return err
	}
	ready := func() string { return o.Ready(ctx, f, local.Unanswered()) }
	if err := o.awaitReady(ctx, ready, c.ended); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	orders, err := newControl(o.Dir)
	if err != nil {
		return err
	}
	defer orders.close()
	if o.OnReady != nil {
		o.OnReady(f, time.Since(began))
	}
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(o.Out, "stopping")
			return nil
		case n := <-c.ended:
			if text := c.obituary(n); text != "" {
				fmt.Fprintln(o.Out, text)
			}
		case q := <-orders.requests:
			q.carryOut(c)
		}
	}
}

// awaitReady polls until nothing is missing that ready tells. A node that ends meanwhile is an error: something is
// wrong with its start.
func (o *Options) awaitReady(ctx context.Context, ready func() string, ended <-chan *localfleet.Node) error {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	late := time.NewTimer(readyTimeout)
	defer late.Stop()
	for {
		missing := ready()
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-ended:
			return errors.New(lastWords(n))
		case <-late.C:
			return fmt.Errorf("not ready after %s: %s; the nodes' logs are in %s", readyTimeout, missing,
				filepath.Join(o.Dir, "*", "log"))
		case <-poll.C:
		}
	}
}
