package kv

import "github.com/mimir-kv/mimir/kv/keyset"

// Metrics is a picture of a store.
type Metrics struct {
	Revision           int64
	CompactRevision    int64 // -1 if never compacted
	Keys               int   // that exist now; -1 if they are not counted, or not yet
	Leases             int
	Watchers           int
	SlowWatchers       int    // those that read from disk, because they began in the past or cannot keep up
	TotalBytes         int64  // on disk
	InUseBytes         int64  // of those, what is not obsolete
	MemTableBytes      uint64 // applied but not yet flushed
	CacheHits          int64
	CacheMisses        int64
	WriteAmplification float64
}

// Metrics returns a picture of the store; the zero Metrics if it is closed.
func (s *Store) Metrics() Metrics {
	g, err := s.acquire()
	if err != nil {
		return Metrics{}
	}
	defer g.release()
	p := g.db.Metrics()
	total := p.Total()
	now := g.now.Load()
	watchers, slow := s.watchers.Count()
	keys := -1
	if g.keys != nil {
		if known, rest := g.keys.Count(keyset.Interval{}, now.Revision); len(rest) == 0 {
			keys = int(known)
		}
	}
	return Metrics{
		Revision: now.Revision, CompactRevision: now.Compact,
		Keys: keys, Leases: s.leases.Len(), Watchers: watchers, SlowWatchers: slow,
		TotalBytes: int64(p.DiskSpaceUsage()), InUseBytes: total.AggregateSize(),
		MemTableBytes: p.MemTable.Size, CacheHits: p.BlockCache.Hits, CacheMisses: p.BlockCache.Misses,
		WriteAmplification: total.WriteAmp(),
	}
}

// SizeBytes returns what the store takes on disk, and how much of that is not obsolete. What is not yet flushed is
// counted in both. It waits for no commit that is being published. Zero if the store is closed.
func (s *Store) SizeBytes() (total, inUse int64) {
	g, err := s.acquire()
	if err != nil {
		return 0, 0
	}
	defer g.release()
	p := g.db.Metrics()
	levels, unflushed := p.Total(), int64(p.MemTable.Size)
	return int64(p.DiskSpaceUsage()) + unflushed, levels.AggregateSize() + unflushed
}
