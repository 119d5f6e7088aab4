package server

import (
	"math"
	"slices"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
)

// leastMemory is the smallest memory-bytes: a part of less is too little for what one request may need.
const leastMemory = 192 << 20

// followsMemory is where a setting comes from that is a part of memory-bytes.
const followsMemory = "memory-bytes"

// byDefault is where a setting comes from that was set, and is not any more.
const byDefault = "default"

// budgeted is a size that is a part of memory-bytes.
type budgeted struct {
	key   string
	parts int64 // of which one is for this
	most  int64
	set   func(c *Config, n int64)
}

// shares are the sizes that are parts of memory-bytes where nobody set them. What is in them lies in the heap of a
// program that was built without cgo, as releases are: the cache, half as much beside it, two tables and the counts are
// half of MemoryLimit. The others bound what requests need at a time, which together may be more than the other half.
var shares = []budgeted{
	{"cache-bytes", 8, math.MaxInt64, func(c *Config, n int64) { c.Store.CacheBytes = n }},
	{"mem-table-bytes", 16, kv.DefaultMemTableBytes, func(c *Config, n int64) { c.Store.MemTableBytes = uint64(n) }},
	{"count-bytes", 16, math.MaxInt64, func(c *Config, n int64) { c.Store.CountBytes = n }},
	{"max-answer-bytes", 4, etcdapi.DefaultAnswerBytes, func(c *Config, n int64) { c.Limits.AnswerBytes = n }},
	{"durability.bytes", 8, etcdapi.DefaultDurableBytes, func(c *Config, n int64) { c.Limits.DurableBytes = n }},
	{"max-effect-bytes", 4, etcdapi.DefaultEffectBytes, func(c *Config, n int64) { c.Limits.EffectBytes = n }},
}

// shareMemory gives those sizes that nobody set their parts of a budget; with none, those that have a part of another
// one get their defaults back.
func (c *Config) shareMemory(budget int64) {
	for _, s := range shares {
		switch origin := c.origins[s.key]; {
		case origin != "" && origin != followsMemory:
		case budget >= leastMemory: // less is refused, and not its parts
			s.set(c, min(budget/s.parts, s.most))
			c.from(s.key, followsMemory)
		case origin == followsMemory:
			find(s.key).reset(c)
			c.from(s.key, byDefault)
		}
	}
}

// follows reports whether a setting is a part of memory-bytes, since nobody set it.
func (c *Config) follows(key string) bool { return c.origins[key] == followsMemory }

// preset reports whether a setting is its default, since nobody set it or memory-bytes.
func (c *Config) preset(key string) bool {
	d, s, origin := DefaultConfig(), find(key), c.origins[key]
	return (origin == "" || origin == byDefault) && s.get(c) == s.get(&d)
}

// isShare reports whether a setting is a part of memory-bytes where nobody sets it.
func isShare(key string) bool {
	return slices.ContainsFunc(shares, func(s budgeted) bool { return s.key == key })
}

// MemoryLimit is what the heap, stacks and whatever else the Go runtime holds are to stay within, in bytes
// (runtime/debug.SetMemoryLimit): three quarters of memory-bytes, since pages of files and of the program count too
// where memory is counted, and the collector may be late. Zero: memory-bytes is not set.
func (c *Config) MemoryLimit() int64 { return c.MemoryBytes / 4 * 3 }
