package kv

import (
	"cmp"
	"context"
	"log/slog"
	"math"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// counted is what keepCounted knows of the index of the keys.
type counted struct {
	forgotten int64 // the compaction that the index knows of
	short     bool  // it counts not all that can be read, for its memory
	looked    int64 // keys, until all are known
	whole     bool  // all were known at the present, once
}

// keepCounted does one step for the index of the keys: it lets go of what was compacted, sees that the index fits its
// memory, or looks at one block. With ctx the look ends.
func keepCounted(ctx context.Context, c *current, logger *slog.Logger) (more bool, err error) {
	g, err := c.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	if g.keys == nil {
		return false, nil
	}
	if compact := g.now.Load().Compact; compact > g.counted.forgotten {
		g.keys.Forget(compact)
		g.keys.Narrow()
		g.counted.forgotten = compact
	}
	g.keys.Fit()
	g.tellShort(logger)
	s, ok := g.keys.Begin()
	if !ok {
		return false, nil
	}
	found, err := g.survey(ctx, s)
	if found {
		g.tellLooked(logger, int64(s.Taken()))
	}
	return true, err
}

// tellShort says when memory begins to lack for all that can be read, and when it no longer does.
func (g *generation) tellShort(logger *slog.Logger) {
	since := g.keys.Since()
	short := since > max(g.counted.forgotten, 0)
	if short == g.counted.short {
		return
	}
	if g.counted.short = short; short {
		logger.Info("count-bytes is used up: lists at old revisions walk over their keys", "before", since)
	} else {
		logger.Info("count-bytes is enough again, for all revisions that can be read")
	}
}

// progressKeys is how many keys are looked at between two words about it.
const progressKeys = 4 << 20

// tellLooked says how far the first look at all keys is, if that takes more than one step.
func (g *generation) tellLooked(logger *slog.Logger, keys int64) {
	c := &g.counted
	if c.whole {
		return
	}
	before := c.looked
	c.looked += keys
	switch c.whole = g.keys.Whole(); {
	case c.whole && before > 0:
		there, _ := g.keys.Count(keyset.Interval{}, math.MaxInt64)
		logger.Info("keys are counted", "keys", there, "bytes", g.keys.Bytes())
	case !c.whole && before/progressKeys != c.looked/progressKeys:
		logger.Info("keys are being counted; until then lists walk over them", "looked", c.looked)
	}
}

// survey looks at the block of keys that s is about, and reports whether something was found of it. It takes as long
// as the keys and flips that a survey takes, however long the history is.
func (g *generation) survey(ctx context.Context, s *keyset.Survey) (found bool, err error) {
	reader, err := mvcc.NewReader(g.db)
	if err != nil {
		g.keys.Abandon(s)
		return false, err
	}
	// What is removed from disk is below the compaction revision of that time, and so not above this one.
	s.Since = max(s.Since, g.now.Load().Compact)
	if s.Since <= s.UpTo {
		look := mvcc.Look{Span: spanOf(s.Interval), Since: s.Since, UpTo: s.UpTo, MostFlips: s.MostFlips}
		err = reader.Lives(ctx, look, s.Add)
		found = err == nil
	}
	if found {
		g.keys.Finish(s)
	} else {
		g.keys.Abandon(s)
	}
	return found, cmp.Or(err, reader.Close())
}

// spanOf returns an interval as requests name it.
func spanOf(in keyset.Interval) command.Span {
	sp := command.Span{Start: []byte(in.From), End: []byte{}}
	if in.Bounded {
		sp.End = []byte(in.To)
	}
	return sp
}

// intervalOf returns a span as the index names it.
func intervalOf(sp command.Span) keyset.Interval {
	from, to := sp.Interval()
	return keyset.Interval{From: string(from), To: string(to), Bounded: to != nil}
}
