package kv

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// storeFormat is that of Pebble's files. A store is raised to it as it is opened, and not lowered again: a version that
// raises it has to know that the one before cannot be put back on the directory, and whether it reads copies from here.
const storeFormat = pebble.FormatValueSeparation

func pebbleOptions(o *Options, cache *pebble.Cache, a *failures) *pebble.Options {
	p := &pebble.Options{
		FS:                          watched{o.FS, a},
		Comparer:                    mvcc.Comparer,
		Cache:                       cache,
		DisableWAL:                  true,
		FormatMajorVersion:          storeFormat,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                o.OpenTables,
		Logger:                      a,
		DisableAutomaticCompactions: o.still,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		EventListener: &pebble.EventListener{
			DataCorruption: a.damaged, BackgroundError: a.background,
			FlushEnd: a.room.flushEnded, CompactionEnd: a.room.compactionEnded,
		},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	p.Experimental.CompactionScheduler = a.scheduler
	return p
}
