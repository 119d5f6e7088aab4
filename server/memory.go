package server

import (
	"math"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
)

// leastMemory is the smallest memory-bytes: a part of less is too little for what one request may need.
const leastMemory = 192 << 20

// shareMemory gives those sizes that nobody set their parts of memory-bytes. What is in them lies in the heap of a
// program that was built without cgo, as releases are: together they are well below MemoryLimit.
func (c *Config) shareMemory() {
	if c.MemoryBytes <= 0 {
		return
	}
	for _, s := range []struct {
		key   string
		parts int64 // of which one is for this
		most  int64
		set   func(int64)
	}{
		{"cache-bytes", 8, math.MaxInt64, func(n int64) { c.Store.CacheBytes = n }},
		{"mem-table-bytes", 16, kv.DefaultMemTableBytes, func(n int64) { c.Store.MemTableBytes = uint64(n) }},
		{"count-bytes", 16, math.MaxInt64, func(n int64) { c.Store.CountBytes = n }},
		{"max-answer-bytes", 4, etcdapi.DefaultAnswerBytes, func(n int64) { c.Limits.AnswerBytes = n }},
		{"durability.bytes", 8, etcdapi.DefaultDurableBytes, func(n int64) { c.Limits.DurableBytes = n }},
		{"max-effect-bytes", 4, etcdapi.DefaultEffectBytes, func(n int64) { c.Limits.EffectBytes = n }},
	} {
		if c.origins[s.key] == "" {
			s.set(min(c.MemoryBytes/s.parts, s.most))
			c.from(s.key, "memory-bytes")
		}
	}
}

// MemoryLimit is what the heap, stacks and whatever else the Go runtime holds are to stay within, in bytes
// (runtime/debug.SetMemoryLimit): three quarters of memory-bytes, since pages of files and of the program count too
// where memory is counted, and the collector may be late. Zero: memory-bytes is not set.
func (c *Config) MemoryLimit() int64 { return c.MemoryBytes / 4 * 3 }
