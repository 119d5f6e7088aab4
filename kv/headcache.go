package kv

import (
	"sync"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// headCache remembers the newest version of the keys that were written or read last, so that neither a put has to
// search for the version it replaces, nor a read for what is read often. It holds up to twice maxKeys keys, and
// values of up to twice maxBytes: keys beyond that are remembered without. It belongs to one generation.
//
// A version here is the newest of its key as of some published revision or a later one. So a reader at a published
// revision may take it if it is not newer than that.
type headCache struct {
	maxKeys, maxBytes int

	mu         sync.RWMutex
	young, old map[string]head
	youngBytes int    // of values
	moment     uint64 // number of publications
}

// head is the newest version of a key. Nothing of it changes.
type head struct {
	mvcc.Version
	whole bool // with its value
}

const (
	headCacheKeys     = 1 << 17
	headCacheShare    = 4       // this part of the bytes of the block cache is for values, twice
	maxHeadValueBytes = 4 << 10 // larger values are left out
)

// keep returns the head as it is remembered: it shares no memory with whoever wrote or read it.
func (h head) keep() head {
	if h.whole = len(h.Value) <= maxHeadValueBytes; h.whole {
		h.Detach()
	} else {
		h.Value = nil
	}
	return h
}

// get returns the head of key, and the moment of the look-up for offer.
func (c *headCache) get(key []byte) (h head, moment uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if h, ok = c.young[string(key)]; !ok {
		h, ok = c.old[string(key)]
	}
	return h, c.moment, ok
}

// publish adds what a batch wrote, in heads to keep, and calls show, which publishes the batch, as one step for
// whoever offers.
func (c *headCache) publish(written map[string]head, show func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moment++
	for key, h := range written {
		c.put(key, h)
	}
	show()
}

// offer adds the newest version of a key as it was read after the given moment, if nothing was published since then
// and nobody else is in the way.
func (c *headCache) offer(key []byte, v mvcc.Version, moment uint64) {
	if len(v.Value) > maxHeadValueBytes || !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if c.moment == moment {
		c.put(string(key), head{Version: v}.keep())
	}
}

func (c *headCache) put(key string, h head) {
	if c.young == nil || len(c.young) >= c.maxKeys {
		c.old, c.young, c.youngBytes = c.young, map[string]head{}, 0
	}
	c.youngBytes += len(h.Value) - len(c.young[key].Value)
	if c.youngBytes > c.maxBytes {
		c.youngBytes -= len(h.Value)
		h.Value, h.whole = nil, false
	}
	c.young[key] = h
}
