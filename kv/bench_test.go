package kv

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
)

func benchStore(b *testing.B) *node {
	s, err := Open(Options{Dir: b.TempDir(), CacheBytes: 128 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return &node{Store: s, t: b}
}

func benchKey(dst []byte, i uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, "/registry/pods/"...), i*0x9e3779b97f4a7c15)
}

const (
	benchBatch = 128
	benchValue = 256
	benchKeys  = 1 << 18
)

func (n *node) fill(b *testing.B, keys uint64) {
	value := make([]byte, benchValue)
	for i := uint64(0); i < keys; {
		batch := &replication.Batch{First: 1, Metadata: &n.metadata}
		for range benchBatch {
			c := command.EncodePut(&pb.PutRequest{Key: benchKey(nil, i), Value: value})
			batch.Commands = append(batch.Commands, replication.Command{Data: c})
			i++
		}
		if _, err := n.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApply applies puts in batches; an operation is one put.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		name     string
		keys     uint64
		watchers int
		txn      bool
	}{
		{"NewKeys", 0, 0, false}, {"Overwrite", benchKeys, 0, false}, {"Watched", benchKeys, 1, false},
		{"Txn", benchKeys, 0, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := benchStore(b)
			n.fill(b, c.keys)
			for range c.watchers {
				w, err := n.Watch(watch.Request{Key: []byte("/"), RangeEnd: []byte{0}})
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					for {
						if _, err := w.Next(b.Context()); err != nil {
							return
						}
					}
				}()
			}
			value := make([]byte, benchValue)
			batch := &replication.Batch{First: 1, Metadata: &n.metadata, WantResults: true}
			batch.Commands = make([]replication.Command, benchBatch)
			for i := range batch.Commands {
				batch.Commands[i].Data = command.EncodePut(&pb.PutRequest{Key: benchKey(nil, 0), Value: value})
			}
			random := uint64(1)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += benchBatch {
				for i := range batch.Commands {
					at := uint64(done + i)
					if c.keys > 0 {
						random = random*6364136223846793005 + 1442695040888963407
						at = (random >> 20) % c.keys
					}
					if c.txn {
						batch.Commands[i].Data = command.EncodeTxn(casTxn(benchKey(nil, at), value))
						continue
					}
					benchKey(batch.Commands[i].Data[3:3], at)
				}
				if _, err := n.Apply(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

func casTxn(key, value []byte) *pb.TxnRequest {
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_MOD, Result: pb.Compare_GREATER,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: 1},
		}},
		Success: []*pb.RequestOp{opPut(string(key), string(value))},
	}
}

func BenchmarkGet(b *testing.B) {
	n := benchStore(b)
	n.fill(b, benchKeys)
	if err := n.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for i := uint64(0); p.Next(); i++ {
			r, err := n.Range(b.Context(), &pb.RangeRequest{Key: benchKey(nil, i%benchKeys)})
			if err != nil || len(r.Kvs) != 1 {
				b.Fatal(r, err)
			}
		}
	})
}

// BenchmarkScan reads ranges; an operation is one key.
func BenchmarkScan(b *testing.B) {
	for _, limit := range []int64{100, 10_000} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			n := benchStore(b)
			n.fill(b, benchKeys)
			if err := n.Sync(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			start := uint64(1)
			for done := int64(0); done < int64(b.N); {
				// An end is chosen so that about limit keys are in the range, since all of them are counted.
				start += 0x9e3779b97f4a7c15 / 3
				width := uint64(limit) * (1 << 63 / benchKeys * 2)
				from, to := start, start+width
				if to < from {
					continue
				}
				name := func(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("/registry/pods/"), i) }
				q := &pb.RangeRequest{Key: name(from), RangeEnd: name(to)}
				r, err := n.Range(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				done += max(r.Count, 1)
			}
		})
	}
}
