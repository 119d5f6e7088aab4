package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"
)

// measureBootstrap has a region with empty disks come back when the log does not reach back any more.
func (o *ocean) measureBootstrap(ctx context.Context, _ int) error {
	best, err := o.bestTCP(ctx)
	if err != nil {
		return err
	}
	few := []string{"--retain-bytes", "16MiB", "--copy-retain-bytes", "1GiB", "--compact-bytes", "4MiB"}
	if err := o.restart(ctx, few); err != nil {
		return err
	}
	// Enough that the log from before is released.
	if err := await(ctx, "us, to write", func() error {
		return fill(ctx, o.us.client, "ocean/", o.backlog*megabyte/valueBytes, valueBytes, noise)
	}); err != nil {
		return err
	}
	o.eu.stop()
	for _, n := range o.eu.nodes {
		if err := os.RemoveAll(n.data); err != nil {
			return err
		}
	}
	to, err := o.us.revision(ctx)
	if err != nil {
		return err
	}
	installed := o.eu.said(installedState)
	began, before := time.Now(), o.crossed()
	if err := o.anew(ctx, few); err != nil {
		return err
	}
	if err := o.eu.reach(ctx, to, func(int64) {}); err != nil {
		return err
	}
	took, wire := time.Since(began), o.crossed()-before
	err = await(ctx, "a bootstrap", func() error { // the log is written behind what is seen
		if o.eu.said(installedState) == installed {
			return errors.New("the region came back by the log, and not by a copy of the state")
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.note("bootstrap, packets", "MB", float64(wire)/megabyte)
	o.noteBeside("bootstrap, start of the nodes to caught up", "Mbit/s", float64(wire)/megabit/took.Seconds(),
		"best plain TCP", best)
	return o.restart(ctx, nil)
}

// restart stops both regions, and starts them with further arguments.
func (o *ocean) restart(ctx context.Context, further []string) error {
	o.eu.stop()
	o.us.stop()
	if err := o.us.start(o.mimir, further...); err != nil {
		return err
	}
	if err := o.us.connect(ctx); err != nil {
		return err
	}
	return o.anew(ctx, further)
}

// installedState is what a node logs that has taken a copy.
const installedState = "installed the state of the source"

// said is how often nodes have logged something.
func (r *region) said(text string) (n int) {
	for _, node := range r.nodes {
		log, _ := os.ReadFile(node.log) // who has not started has said nothing
		n += strings.Count(string(log), text)
	}
	return n
}

// anew starts eu and connects to it.
func (o *ocean) anew(ctx context.Context, further []string) error {
	if err := o.eu.start(o.mimir, further...); err != nil {
		return err
	}
	return o.eu.connect(ctx)
}
