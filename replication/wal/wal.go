package wal

import (
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Errors of a Log. Entries that are not held are reported as raft.ErrCompacted and raft.ErrUnavailable.
var (
	// ErrCorrupt means that bytes which were durable once no longer validate. The node must stop and be rebuilt from its peers.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrFailed means that a write or a sync failed: nobody knows what is on disk, so nothing is appended any more. Open the log again.
	ErrFailed = errors.New("wal: failed")
	// ErrClosed means that the log was closed.
	ErrClosed = errors.New("wal: closed")
	// ErrOrder means that an append neither continues the log nor overwrites a suffix of it. Nothing was written.
	ErrOrder = errors.New("wal: entry out of order")
)

// Options say where a log is and how it is laid out.
type Options struct {
	FS            vfs.FS       // required
	Dir           string       // required; created if missing
	SegmentBytes  int64        // where a segment is sealed and the next begun; default 64 MiB, at most 1 GiB
	CacheBytes    int64        // payload bytes of the newest entries kept in memory; default 32 MiB
	SpareSegments int          // released segments kept for reuse; default 2, negative for none
	Logger        *slog.Logger // default slog.Default()
}

// Write is one step of an Append: the hard state first, then the entries. Either may be missing.
type Write struct {
	HardState *raftpb.HardState
	Entries   []*raftpb.Entry
}

// Log is an open log. One goroutine at a time may call Append, Reset, Compact and Close; everything else may be called
// from any goroutine at any time.
type Log struct{}

func Open(o Options) (*Log, error)                                      { return nil, ErrClosed }
func (l *Log) Append(ws []Write, sync bool) error                       { return ErrClosed }
func (l *Log) Reset(index, term uint64, hs *raftpb.HardState) error     { return ErrClosed }
func (l *Log) HardState() *raftpb.HardState                             { return nil }
func (l *Log) FirstIndex() uint64                                       { return 0 }
func (l *Log) LastIndex() uint64                                        { return 0 }
func (l *Log) Term(i uint64) (uint64, error)                            { return 0, ErrClosed }
func (l *Log) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) { return nil, ErrClosed }
func (l *Log) Seek(pos timeline.Position) (uint64, error)               { return 0, ErrClosed }
func (l *Log) FirstPosition() (timeline.Position, bool)                 { return 0, false }
func (l *Log) Compact(index uint64) error                               { return ErrClosed }
func (l *Log) Pin(name string, index uint64)                            {}
func (l *Log) Unpin(name string)                                        {}
func (l *Log) Bytes() int64                                             { return 0 }
func (l *Log) Close() error                                             { return ErrClosed }
