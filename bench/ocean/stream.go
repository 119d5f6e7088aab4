package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// megabyte is that of a backlog, and valueBytes what each of its keys has.
const (
	megabyte   = 1_000_000
	valueBytes = 16 << 10
)

// backlog is what a region that was stopped has to catch up on.
type backlog struct {
	from, to int64 // revisions
	each     int   // bytes of a revision's value
}

// leave stops eu and writes a backlog at us.
func (o *ocean) leave(ctx context.Context, bytes, each int, of contents) (b backlog, err error) {
	o.eu.stop()
	if b.from, err = o.us.revision(ctx); err != nil {
		return b, err
	}
	if err := fill(ctx, o.us.client, "ocean/", bytes/each, each, of); err != nil {
		return b, err
	}
	b.to, err = o.us.revision(ctx)
	b.each = each
	return b, err
}

// crossing is what came over while a region caught up, from its first tenth to its last twentieth.
type crossing struct {
	revisions, data, wire int64
	took                  time.Duration
}

func (c *crossing) megabits() float64 { return float64(c.data) / megabit / c.took.Seconds() }

// catchUp starts eu, and returns how it got through a backlog.
func (o *ocean) catchUp(ctx context.Context, b backlog) (c crossing, err error) {
	if err := o.eu.start(o.mimir); err != nil {
		return c, err
	}
	if err := o.eu.connect(ctx); err != nil {
		return c, err
	}
	first, last := b.from+(b.to-b.from)/10, b.to-(b.to-b.from)/20
	var began time.Time
	var at, wire int64
	err = o.eu.reach(ctx, last, func(revision int64) {
		if revision >= first && began.IsZero() {
			began, at, wire = time.Now(), revision, o.crossed()
		}
		c.revisions = revision - at
	})
	if err != nil {
		return c, err
	}
	if c.revisions < (last-first)/2 {
		return c, errors.New("the region caught up before it could be looked at: the backlog is too small")
	}
	c.took, c.data, c.wire = time.Since(began), c.revisions*int64(b.each), o.crossed()-wire
	return c, nil
}

// reach waits until a region has a revision, and tells of each that it sees.
func (r *region) reach(ctx context.Context, to int64, seen func(int64)) error {
	for {
		revision, err := r.revision(ctx)
		if err == nil {
			seen(revision)
		}
		if err == nil && revision >= to {
			return nil
		}
		pause(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%s at revision %d, wants %d: %w", r.name, revision, to, ctx.Err())
		}
	}
}

// measureStream has a region catch up, on data of both kinds, with plain TCP measured before each, with no stream.
func (o *ocean) measureStream(ctx context.Context, round int) error {
	kinds := []struct {
		name string
		of   contents
	}{{"random", noise}, {"compressible", text}}
	for i := range kinds {
		kind := kinds[(i+round)%len(kinds)]
		b, err := o.leave(ctx, o.backlog*megabyte, valueBytes, kind.of)
		if err != nil {
			return err
		}
		best, err := o.bestTCP(ctx)
		if err != nil {
			return err
		}
		c, err := o.catchUp(ctx, b)
		if err != nil {
			return err
		}
		o.noteBeside("stream, "+kind.name+" data", "Mbit/s", c.megabits(), "best plain TCP", best)
		o.noteBeside("stream, "+kind.name+" data, packets", "Mbit/s", float64(c.wire)/megabit/c.took.Seconds(),
			"the line's rate", float64(o.settings.megabits))
	}
	return nil
}

// crossed is how many bytes of packets have arrived at eu.
func (o *ocean) crossed() int64 {
	s, _ := o.line.Stats() // without the line nothing arrives any more, and all else fails
	return s.There.Bytes
}
