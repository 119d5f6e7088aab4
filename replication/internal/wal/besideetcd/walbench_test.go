package walbench

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// roundSyncs is how many batches one log appends before it is the other's turn.
const roundSyncs = 100

// source makes batches of entries that continue each other.
type source struct {
	index uint64
	data  []byte
	batch []*raftpb.Entry
}

func newSource(entries, entryBytes int) *source {
	return &source{data: bytes.Repeat([]byte("0123456789abcdef"), entryBytes/16), batch: make([]*raftpb.Entry, entries)}
}

func (s *source) next() []*raftpb.Entry {
	for i := range s.batch {
		s.index++
		index, term, kind := s.index, uint64(1), raftpb.EntryNormal
		s.batch[i] = &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: s.data}
	}
	return s.batch
}

// BenchmarkBesideEtcd appends batches and syncs each, in rounds that alternate between the two logs. Mimir's log is
// compacted as a node would, so that it reuses segments; etcd's makes new ones ahead of need by itself.
func BenchmarkBesideEtcd(b *testing.B) {
	for _, size := range []struct{ entries, bytes int }{{128, 256}, {16, 256}, {1, 256}, {128, 4096}} {
		b.Run(fmt.Sprintf("entries=%d/bytes=%d", size.entries, size.bytes), func(b *testing.B) {
			ours := openMimir(b)
			theirs := openEtcd(b)
			mine, its := newSource(size.entries, size.bytes), newSource(size.entries, size.bytes)
			var oursTotal, theirsTotal time.Duration
			var ratios []float64
			b.ResetTimer()
			for done := 0; done < b.N; done += roundSyncs {
				a := round(b, func() error { return ours.Append([]wal.Write{{Entries: mine.next()}}, true) })
				if err := ours.Compact(ours.LastIndex()); err != nil {
					b.Fatal(err)
				}
				e := round(b, func() error { return theirs.Save(&raftpb.HardState{}, its.next()) })
				oursTotal, theirsTotal = oursTotal+a, theirsTotal+e
				ratios = append(ratios, float64(e)/float64(a))
			}
			b.StopTimer()
			slices.Sort(ratios)
			syncs := float64(len(ratios) * roundSyncs)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(syncs/oursTotal.Seconds(), "mimir-syncs/s")
			b.ReportMetric(syncs/theirsTotal.Seconds(), "etcd-syncs/s")
			b.ReportMetric(ratios[len(ratios)/2], "median-ratio")
		})
	}
}

func openMimir(b *testing.B) *wal.Log {
	l, err := wal.Open(wal.Options{
		FS: durable.OS, Dir: b.TempDir(), SegmentBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

func openEtcd(b *testing.B) *etcdwal.WAL {
	w, err := etcdwal.Create(zap.NewNop(), filepath.Join(b.TempDir(), "wal"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Close() })
	return w
}

func round(b *testing.B, appendBatch func() error) time.Duration {
	begin := time.Now()
	for range roundSyncs {
		if err := appendBatch(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin)
}
