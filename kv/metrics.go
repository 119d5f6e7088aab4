package kv

// Metrics is a picture of a store.
type Metrics struct {
	Revision           int64
	CompactRevision    int64 // -1 if never compacted
	Keys               int   // that exist now; -1 if they are too many to be counted
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
	if now.keys != nil {
		keys = now.keys.Len()
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
// counted in both.
func (s *Store) SizeBytes() (total, inUse int64) {
	m := s.Metrics()
	unflushed := int64(m.MemTableBytes)
	return m.TotalBytes + unflushed, m.InUseBytes + unflushed
}
