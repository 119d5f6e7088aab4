package kv

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Defaults of Options.
const (
	DefaultCacheBytes    = 256 << 20
	DefaultMemTableBytes = 64 << 20
	DefaultCountBytes    = 128 << 20
	DefaultOpenTables    = 4096
)

// Options says where a Store is and what it may use.
type Options struct {
	// FS is the filesystem of Dir. Default: the machine's.
	FS vfs.FS
	// Dir is created if missing. It belongs to one open Store.
	Dir string
	// CacheBytes bounds the cache of blocks; it should hold the hot set. The values written or read last take up to
	// half as much beside it. Default DefaultCacheBytes.
	CacheBytes int64
	// MemTableBytes is how much is written before it is flushed. Default DefaultMemTableBytes.
	MemTableBytes uint64
	// CountBytes is about how much memory the store takes to tell how many keys an interval has, as every range with a
	// limit does, at any revision that can be read, without a walk over all of them: 2 to 5 bytes a key, and 3 to 12,
	// mostly 6, for each that began or ceased to exist since the compaction. With less than that the oldest revisions
	// are walked, and blocks of keys are larger for as long as that lasts. Default DefaultCountBytes; negative for
	// none.
	CountBytes int64
	// OpenTables is how many files of the store may be kept open at a time, beside a handful that always are. Default
	// DefaultOpenTables.
	OpenTables int
	// SpareBytes is how much of the disk compactions leave free, and flushes an eighth of it, for the log and whatever
	// else must be written when the disk is nearly full. Default 0.
	SpareBytes int64
	// Clock says when what found no room on the disk, or failed in the background, is tried again. Default: the
	// machine's.
	Clock clock.Clock
	// Logger receives one event a line. Default: slog.Default().
	Logger *slog.Logger
	// OnCommit is told how long the engine took for each batch that was applied, by its own clock: what holds up
	// whoever writes, when memory is not flushed or tables are not compacted fast enough, shows there. It is no sync:
	// what is durable is in the log. May be nil, must not block.
	OnCommit func(took time.Duration)
	// OnAlarm is told of each alarm that a command raised or cleared, once readers see it: alike on every node, and
	// again when a command is applied anew after a power cut. It must not block. May be nil.
	OnAlarm func(AlarmTurn)
	// OnFailure is told, on a goroutine of its own, that the open store cannot go on: a flush or a compaction failed
	// for another reason than a full disk, or a file is not what was written (replication.ErrDamaged). What is applied
	// from then on may never become durable, and Apply and Close may wait for ever, so the owner should end the
	// process. It may be told again. May be nil: then the process ends with a panic where it would have waited.
	OnFailure func(error)

	still bool // nothing is compacted: it is opened to be looked at
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("kv: Options.Dir is empty")
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	if o.CountBytes == 0 {
		o.CountBytes = DefaultCountBytes
	}
	if o.OpenTables <= 0 {
		o.OpenTables = DefaultOpenTables
	}
	if o.Clock == nil {
		o.Clock = clock.Real
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}
