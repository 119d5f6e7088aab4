package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Errors of a Log. Entries that are not held are reported as raft.ErrCompacted and raft.ErrUnavailable.
var (
	// ErrCorrupt means that bytes which were durable once no longer validate. The node must stop and be rebuilt from
	// its peers.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrFailed means that a write or a sync failed: nobody knows what is on disk, so nothing is appended any more.
	// Open the log again. A write that found no room fails only if nobody waits for it: see [WaitForRoom].
	ErrFailed = errors.New("wal: failed")
	// ErrClosed means that the log was closed.
	ErrClosed = errors.New("wal: closed")
	// ErrOrder means that an append neither continues the log nor overwrites a suffix of it, or that an entry is too
	// large. Nothing was written, and the log can be used further.
	ErrOrder = errors.New("wal: entry cannot be appended")
)

// Options say where a log is and how it is laid out.
type Options struct {
	FS            durable.FS   // required
	Dir           string       // required; created if missing
	SegmentBytes  int64        // where a segment is sealed and the next begun; required, 4 KiB to 1 GiB
	CacheBytes    int64        // memory for the newest entries; default 32 MiB
	SpareSegments int          // released segments kept for reuse; default 2, negative for none
	Logger        *slog.Logger // default slog.Default()
}

// Limits of Options.SegmentBytes.
const (
	MinSegmentBytes = 4 << 10
	MaxSegmentBytes = 1 << 30
)

const (
	defaultCacheBytes    = 32 << 20
	defaultSpareSegments = 2
)

func (o *Options) complete() error {
	if o.FS == nil || o.Dir == "" {
		return errors.New("wal: options need a filesystem and a directory")
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		return fmt.Errorf("wal: segments of %d bytes; must be %d to %d", o.SegmentBytes, MinSegmentBytes,
			MaxSegmentBytes)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.SpareSegments == 0 {
		o.SpareSegments = defaultSpareSegments
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Log is an open log. One goroutine at a time may call Append, Reset, Compact and Close; everything else may be called
// from any goroutine at any time.
type Log struct {
	options Options
	folder  folder // the appender's own
	writer  writer // likewise

	committed // notes what is

	mu        sync.RWMutex
	segments  []*segment // oldest first, never empty; the newest is appended to
	cache     cache
	hardState *raftpb.HardState
	pins      map[string]uint64
	base      base
	closed    bool
}

// holding returns the segment that holds an entry of the log; the oldest for the entry before the first.
func (l *Log) holding(index uint64) *segment {
	n := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].prevIndex >= index })
	return l.segments[max(n-1, 0)]
}

func (l *Log) tail() *segment { return l.segments[len(l.segments)-1] }

// HardState returns the last hard state appended, nil if there is none. It must not be changed.
func (l *Log) HardState() *raftpb.HardState {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.hardState
}

// FirstIndex returns the index of the first entry held, LastIndex()+1 if there is none.
func (l *Log) FirstIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first()
}

func (l *Log) first() uint64 { return l.segments[0].prevIndex + 1 }

// LastIndex returns the index of the last entry, FirstIndex()-1 if there is none.
func (l *Log) LastIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail().last
}

// Term returns the term of an entry from FirstIndex()-1 to LastIndex(). It never reads from disk. The error is
// raft.ErrCompacted before that and raft.ErrUnavailable after.
func (l *Log) Term(index uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case index+1 < l.first():
		return 0, raft.ErrCompacted
	case index > l.tail().last:
		return 0, raft.ErrUnavailable
	}
	return l.holding(index).term(index), nil
}

// Bytes returns how much of the disk the records of the log take. Spare segments do not count.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var sum int64
	for _, s := range l.segments {
		sum += s.end
	}
	return sum
}

// BytesFrom returns how much of the disk the entries from index on take, zero beyond the end. It may count up to one
// spacing of the sparse index, 32 KiB, too much, and costs one look into that index.
func (l *Log) BytesFrom(index uint64) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var sum int64
	for i := len(l.segments) - 1; i >= 0 && l.segments[i].last >= index; i-- {
		s := l.segments[i]
		sum += s.end
		if n := sort.Search(len(s.points), func(i int) bool { return s.points[i].index > index }); n > 0 {
			return sum - s.points[n-1].offset
		}
	}
	return sum
}

// Close makes everything durable and lets go of the files; reads in progress finish first. It marks the end of the log,
// so that damage to it is told from a torn tail at the next Open. After a failure it writes nothing and returns that
// failure.
func (l *Log) Close() error {
	l.mu.RLock()
	closed := l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	err := l.writer.failed
	if err == nil && !l.writer.marked {
		// The mark proves what was durable before it, so that has to be synced first.
		if err = l.flush(true); err == nil {
			l.writer.stage(record{kind: kindMark})
			err = l.flush(true)
		}
	}
	l.mu.Lock()
	l.closed = true
	for _, s := range l.segments {
		s.retire(fateClose, l.options.FS)
	}
	l.mu.Unlock()
	return errors.Join(err, l.committed.close())
}
