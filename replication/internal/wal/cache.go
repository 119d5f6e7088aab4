package wal

import "go.etcd.io/raft/v3/raftpb"

// entryOverheadBytes is what an entry takes in memory beside its data, about.
const entryOverheadBytes = 128

// cache keeps the newest entries of the log, [first, next), in a ring. It has no lock of its own.
type cache struct {
	slots       []*raftpb.Entry // length is a power of two
	first, next uint64
	bytes       int64
	limit       int64
}

func (c *cache) slot(index uint64) *raftpb.Entry { return c.slots[index&uint64(len(c.slots)-1)] }

// push appends the entry with index c.next, and lets the oldest go when the limit is passed.
func (c *cache) push(e *raftpb.Entry) {
	if c.next-c.first == uint64(len(c.slots)) {
		c.grow()
	}
	c.slots[c.next&uint64(len(c.slots)-1)] = e
	c.next++
	c.bytes += int64(len(e.Data)) + entryOverheadBytes
	for c.bytes > c.limit && c.first < c.next {
		c.clear(c.first)
		c.first++
	}
}

func (c *cache) grow() {
	slots := make([]*raftpb.Entry, max(64, 2*len(c.slots)))
	for i := c.first; i < c.next; i++ {
		slots[i&uint64(len(slots)-1)] = c.slot(i)
	}
	c.slots = slots
}

func (c *cache) clear(index uint64) {
	c.bytes -= int64(len(c.slot(index).Data)) + entryOverheadBytes
	c.slots[index&uint64(len(c.slots)-1)] = nil
}

// cutFrom forgets the entries from index on; the next to be pushed is index.
func (c *cache) cutFrom(index uint64) {
	for c.next > index && c.next > c.first {
		c.next--
		c.clear(c.next)
	}
	if c.first == c.next {
		c.first, c.next = index, index
	}
}

// cutBefore forgets the entries before index.
func (c *cache) cutBefore(index uint64) {
	for c.first < c.next && c.first < index {
		c.clear(c.first)
		c.first++
	}
}

// reset forgets everything; the next to be pushed is index.
func (c *cache) reset(index uint64) {
	c.cutBefore(c.next)
	c.first, c.next = index, index
}

// appendTo appends entries [lo, hi) to dst while their size stays within maxBytes, but at least one if dst is empty.
// All must be held.
func (c *cache) appendTo(dst []*raftpb.Entry, lo, hi, size, maxBytes uint64) []*raftpb.Entry {
	for i := lo; i < hi; i++ {
		e := c.slot(i)
		if size += entryBytes(len(e.Data)); size > maxBytes && len(dst) > 0 {
			break
		}
		dst = append(dst, e)
	}
	return dst
}
