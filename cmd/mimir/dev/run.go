package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of a new fleet.
var DefaultRegions = []string{"us", "eu"}

// DefaultNodes is how many nodes each region of a new fleet has.
const DefaultNodes = 3

const (
	stopGrace    = 15 * time.Second
	readyTimeout = 60 * time.Second
)

// Options of a fleet on this machine.
type Options struct {
	Dir      string        // where everything is kept; made absolute by Run
	Regions  []string      // nil: those of an earlier run in Dir, or DefaultRegions
	Nodes    int           // of each region; 0: as many as in the earlier run, or DefaultNodes
	WANDelay time.Duration // one way, between regions

	// Serve is the command that runs a node, to which "--config FILE" is added.
	Serve []string
	// Ready reports whether the fleet serves; its text says what is still missing.
	Ready func(ctx context.Context, f *Fleet) (waitingFor string)
	// OnReady is told once, with the time it took.
	OnReady func(f *Fleet, took time.Duration)
	// Out receives what happens, one event a line.
	Out io.Writer
}

// Run starts the fleet and returns when ctx has ended and everything is stopped; a close of hurry makes the stop abrupt. It
// returns an error if the fleet cannot be started.
func Run(ctx context.Context, o Options, hurry <-chan struct{}) (err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	lock, err := vfs.Default.Lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("another mimir dev uses %s: %w", o.Dir, err)
	}
	defer lock.Close()
	f, err := load(o.Dir)
	if err != nil {
		return err
	}
	if f != nil {
		err = f.check(&o)
	} else {
		f, err = create(&o)
	}
	if err != nil {
		return err
	}
	proxies, err := o.configure(f)
	defer func() {
		for _, p := range proxies {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	return o.run(ctx, f, hurry)
}

// configure writes every node's config.yaml and starts the proxies that they name.
func (o *Options) configure(f *Fleet) (map[[2]string]*proxy, error) {
	proxies := map[[2]string]*proxy{}
	var failed error
	reach := func(from, to string) string {
		if o.WANDelay == 0 {
			return to
		}
		p := proxies[[2]string{from, to}]
		if p == nil {
			var err error
			if p, err = newProxy(to, o.WANDelay); err != nil {
				failed = err
				return to
			}
			proxies[[2]string{from, to}] = p
		}
		return p.addr()
	}
	for i := range f.Regions {
		for j := range f.Regions[i].Nodes {
			if err := o.writeConfig(f, &f.Regions[i], &f.Regions[i].Nodes[j], reach); err != nil {
				return proxies, err
			}
		}
	}
	return proxies, failed
}

func (o *Options) run(ctx context.Context, f *Fleet, hurry <-chan struct{}) error {
	began := time.Now()
	spawn := newSpawner()
	defer spawn.close()
	var children []*child
	defer func() { stop(children, stopGrace, hurry) }()
	ended := make(chan *child)
	for i := range f.Regions {
		for j := range f.Regions[i].Nodes {
			n := &f.Regions[i].Nodes[j]
			c, err := spawn.start(n, o.logPath(n), append(append([]string(nil), o.Serve...), "--config", o.configPath(n)))
			if err != nil {
				return fmt.Errorf("start %s: %w", n.Name, err)
			}
			n.PID = c.command.Process.Pid
			children = append(children, c)
		}
	}
	if err := f.save(o.Dir); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, c := range children {
		go func() {
			<-c.done
			select {
			case ended <- c:
			case <-watching.Done():
			}
		}()
	}
	if err := o.awaitReady(ctx, f, ended); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if o.OnReady != nil {
		o.OnReady(f, time.Since(began))
	}
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(o.Out, "stopping")
			return nil
		case c := <-ended:
			fmt.Fprintf(o.Out, "%s\n  to start it again: %s\n", o.obituary(c), o.serveCommand(c.node))
		}
	}
}

// awaitReady polls until the fleet serves. A node that ends meanwhile is an error: something is wrong with its start.
func (o *Options) awaitReady(ctx context.Context, f *Fleet, ended <-chan *child) error {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	late := time.NewTimer(readyTimeout)
	defer late.Stop()
	for {
		missing := o.Ready(ctx, f)
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-ended:
			return errors.New(o.obituary(c))
		case <-late.C:
			return fmt.Errorf("not ready after %s: %s; the nodes' logs are in %s", readyTimeout, missing, filepath.Join(o.Dir, "*", "log"))
		case <-poll.C:
		}
	}
}

// obituary says how a child ended, with its own last words.
func (o *Options) obituary(c *child) string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	text := fmt.Sprintf("%s (pid %d) ended: %s", c.node.Name, c.node.PID, how)
	if last := lastLine(o.logPath(c.node)); last != "" {
		text += "; its last words: " + last
	}
	return text
}

func (o *Options) serveCommand(n *Node) string {
	text := ""
	for _, word := range append(append([]string(nil), o.Serve...), "--config", o.configPath(n)) {
		text += word + " "
	}
	return text[:len(text)-1]
}
