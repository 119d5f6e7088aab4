package wal

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
)

const (
	benchEntries = 128
	benchSegment = 64 << 20
)

// batches makes runs of entries of 256 bytes, numbered from 1 on.
func batches(n int) [][]*raftpb.Entry {
	payload := frame(1, 1, 1, 256-60)
	all := make([][]*raftpb.Entry, n)
	index := uint64(0)
	for i := range all {
		all[i] = make([]*raftpb.Entry, benchEntries)
		for j := range all[i] {
			index++
			all[i][j] = entry(index, 1, payload)
		}
	}
	return all
}

func reportSyncs(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "syncs/s")
	b.ReportMetric(float64(b.N*benchEntries)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkAppend appends 128 entries of 256 bytes a sync, in segments that were used before, as in a log that is
// compacted, or that never were.
func BenchmarkAppend(b *testing.B) {
	for _, recycled := range []bool{true, false} {
		b.Run(fmt.Sprintf("recycled=%v", recycled), func(b *testing.B) {
			l, err := Open(
				Options{
					FS: durable.OS, Dir: b.TempDir(), SegmentBytes: benchSegment,
					Logger: slog.New(slog.DiscardHandler), SpareSegments: 3,
				})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if recycled {
				fillSpares(b, l)
			}
			w := make([]Write, 1)
			work := batches(b.N)
			shift(work, l.LastIndex())
			b.ReportAllocs()
			b.ResetTimer()
			for i := range work {
				w[0].Entries = work[i]
				if err := l.Append(w, true); err != nil {
					b.Fatal(err)
				}
				if recycled && i%512 == 511 {
					if err := l.Compact(l.LastIndex()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			reportSyncs(b)
		})
	}
}

// shift moves entries numbered from 1 on behind last.
func shift(work [][]*raftpb.Entry, last uint64) {
	for _, entries := range work {
		for _, e := range entries {
			*e.Index += last
		}
	}
}

// fillSpares writes segments and releases them.
func fillSpares(b *testing.B, l *Log) {
	payload := make([]byte, 1<<20)
	for i := range 200 {
		if err := l.Append([]Write{{Entries: []*raftpb.Entry{entry(uint64(i+1), 1, payload)}}}, false); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Append(nil, true); err != nil {
		b.Fatal(err)
	}
	if err := l.Compact(l.LastIndex()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPebble keeps the same entries as keys of a Pebble store, one synced batch for each 128.
func BenchmarkPebble(b *testing.B) {
	db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: quietPebble{}})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	work := batches(b.N)
	key := make([]byte, 8)
	b.ReportAllocs()
	b.ResetTimer()
	for _, entries := range work {
		batch := db.NewBatch()
		for _, e := range entries {
			binary.BigEndian.PutUint64(key, e.GetIndex())
			if err := batch.Set(key, e.Data, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	reportSyncs(b)
}

type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// BenchmarkRead reads a log from disk in runs of 1 MiB, as a stream does that is behind.
func BenchmarkRead(b *testing.B) {
	l, err := Open(Options{
		FS: durable.OS, Dir: b.TempDir(), SegmentBytes: benchSegment, CacheBytes: 1,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for _, entries := range batches(2000) {
		if err := l.Append([]Write{{Entries: entries}}, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	next, read := uint64(1), 0
	for range b.N {
		entries, err := l.Entries(next, l.LastIndex()+1, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if next += uint64(len(entries)); next > l.LastIndex() {
			next = 1
		}
		read += len(entries)
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "entries/s")
}
