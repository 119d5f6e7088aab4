package kv

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// count begins to count the keys. Few are counted when it returns.
func (g *generation) count(budget int) error {
	g.keys = keyset.New(g.now.Load().Revision, budget)
	s, _ := g.keys.Begin()
	if err := g.survey(s); err != nil {
		return err
	}
	keys, _ := s.Taken()
	g.looked = int64(keys)
	return nil
}

// keepCounted does one step for the index of the keys: it lets go of what was compacted, sees that the index fits its
// memory, or looks at one block.
func keepCounted(c *current, logger *slog.Logger) (more bool, err error) {
	g, err := c.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	if g.keys == nil {
		return false, nil
	}
	if compact := g.now.Load().Compact; compact > g.forgotten {
		g.keys.Forget(compact)
		g.forgotten = compact
	}
	if from := g.keys.Fit(); from > 0 {
		logger.Info("keys are counted from a later revision on: count-bytes is used up", "revision", from)
	}
	s, ok := g.keys.Begin()
	if !ok {
		return false, nil
	}
	if err := g.survey(s); err != nil || !s.Unknown {
		return true, err
	}
	keys, whole := s.Taken()
	g.progress(logger, int64(keys), whole)
	return true, nil
}

// progressKeys is how many keys are counted between two words about it.
const progressKeys = 4 << 20

// progress says how far the first look at all keys is, if that takes long.
func (g *generation) progress(logger *slog.Logger, keys int64, whole bool) {
	before := g.looked
	g.looked += keys
	switch {
	case whole && before > 0:
		logger.Info("keys are counted", "keys", g.looked, "bytes", g.keys.Bytes())
	case before/progressKeys != g.looked/progressKeys:
		logger.Info("keys are being counted; until then lists walk over them", "keys", g.looked)
	}
}

// survey looks at the block of keys that s is about.
func (g *generation) survey(s *keyset.Survey) error {
	reader, err := mvcc.NewReader(g.db)
	if err != nil {
		g.keys.Abandon(s)
		return err
	}
	// What is removed from disk is below the compaction revision of that time, and so not above this one.
	since := max(g.now.Load().Compact, 0)
	if since <= s.UpTo {
		err = reader.Lives(context.Background(), spanOf(s.Interval), since, s.UpTo, s.Add)
	}
	if err != nil || since > s.UpTo {
		g.keys.Abandon(s)
	} else {
		g.keys.Finish(s, since)
	}
	return cmp.Or(err, reader.Close())
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
