package kv

import (
	"context"
	"io"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

type Options struct {
	FS            vfs.FS
	Dir           string
	CacheBytes    int64
	MemTableBytes uint64
	Logger        *slog.Logger
}

type Store struct{}

func Open(o Options) (*Store, error)                                      { panic("skeleton") }
func (s *Store) Close() error                                             { panic("skeleton") }
func (s *Store) Load() (*replication.Metadata, error)                     { panic("skeleton") }
func (s *Store) Apply(b *replication.Batch) ([][]byte, error)             { panic("skeleton") }
func (s *Store) Begin(r replication.Reign, m *replication.Metadata) error { panic("skeleton") }
func (s *Store) Sync() error                                              { panic("skeleton") }
func (s *Store) Snapshot(w io.Writer) error                               { panic("skeleton") }
func (s *Store) Restore(r io.Reader) error                                { panic("skeleton") }
func (s *Store) Checkpoint(dir string) error                              { panic("skeleton") }
func (s *Store) Install(dir string) error                                 { panic("skeleton") }

func (s *Store) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	panic("skeleton")
}
func (s *Store) RangeStream(ctx context.Context, r *pb.RangeRequest, send func(chunk *pb.RangeResponse) error) error {
	panic("skeleton")
}
func (s *Store) ReadOnlyTxn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	panic("skeleton")
}
func (s *Store) Revision() int64                                   { panic("skeleton") }
func (s *Store) CompactRevision() int64                            { panic("skeleton") }
func (s *Store) WaitRevision(ctx context.Context, rev int64) error { panic("skeleton") }
func (s *Store) Hash(ctx context.Context, rev int64) (hash uint32, compactRev, currentRev int64, err error) {
	panic("skeleton")
}
func (s *Store) SnapshotTo(w io.Writer) error    { panic("skeleton") }
func (s *Store) SizeBytes() (total, inUse int64) { panic("skeleton") }
func (s *Store) Metrics() Metrics                { panic("skeleton") }

type Metrics struct {
	Revision, CompactRevision int64
	Watchers, SlowWatchers    int
}

// WatchRequest names the events a watcher yields. StartRevision 0 means from now on.
type WatchRequest struct {
	Key, RangeEnd           []byte
	StartRevision           int64
	PrevKV, NoPut, NoDelete bool
}

// WatchBatch is what Next yields: whole revisions, Revision being the one up to which everything has now been yielded.
type WatchBatch struct {
	Events   []*mvccpb.Event
	Revision int64
}

type Watcher struct{}

func (s *Store) Watch(r WatchRequest) (*Watcher, error) { panic("skeleton") }

// Created is the store's revision when the watcher began.
func (w *Watcher) Created() int64 { panic("skeleton") }

// Next blocks for events. Errors end the watcher: *CompactedError, ErrRewound, ErrClosed; or the context's, which does not.
func (w *Watcher) Next(ctx context.Context) (WatchBatch, error) { panic("skeleton") }

// Progress is the store revision up to which Next has yielded everything.
func (w *Watcher) Progress() int64 { panic("skeleton") }
func (w *Watcher) Close()          { panic("skeleton") }

// Lease is a granted lease; TTL is the granted time to live in seconds.
type Lease struct{ ID, TTL int64 }

func (s *Store) Lease(id int64) (ttl int64, keys [][]byte, ok bool) { panic("skeleton") }
func (s *Store) Leases() []Lease                                    { panic("skeleton") }

type Lessor struct{}

func NewLessor(s *Store, c clock.Clock, expire func(ctx context.Context, leaseID int64) error) *Lessor {
	panic("skeleton")
}
func (l *Lessor) Promote()                                                  { panic("skeleton") }
func (l *Lessor) Demote()                                                   { panic("skeleton") }
func (l *Lessor) Close()                                                    { panic("skeleton") }
func (l *Lessor) Renew(id int64) (ttl int64, err error)                     { panic("skeleton") }
func (l *Lessor) TimeToLive(id int64) (remaining, granted int64, err error) { panic("skeleton") }
