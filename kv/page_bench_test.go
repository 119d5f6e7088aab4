package kv

import (
	"encoding/binary"
	"flag"
	"fmt"
	"syscall"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

var pageKeys = flag.Int("page.keys", 0, "keys of one more BenchmarkPage, 10000000 say")

// pageStore fills a store with keys in scattered order, and then a tenth as many changes: new keys, others, and
// deletions. It returns revisions: when half of the keys were there, and all of them.
func pageStore(b *testing.B, keys int) (n *node, half, old int64) {
	n = benchStore(b)
	var batch []replication.Command
	flush := func() {
		if _, err := n.Apply(&replication.Batch{First: 1, Metadata: &n.metadata, Commands: batch}); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	do := func(data []byte) {
		if batch = append(batch, replication.Command{Data: data}); len(batch) == 1000 {
			flush()
		}
	}
	put := func(i int) {
		do(command.EncodePut(&pb.PutRequest{Key: benchKey(nil, uint64(i)), Value: make([]byte, 100)}))
	}
	for i := range keys {
		put(i)
		if i == keys/2 {
			flush()
			half = n.Revision()
		}
	}
	flush()
	old = n.Revision()
	for i := range keys / 30 {
		put(keys + i)
		put(i * 7)
		do(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: benchKey(nil, uint64(i*11+1))}))
	}
	flush()
	if err := n.Sync(); err != nil {
		b.Fatal(err)
	}
	settle(b, n.Store)
	return n, half, old
}

// cpuTime returns what the process has used, in nanoseconds: on a busy machine it says more than the clock.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkPage asks for pages of 500 keys and for counts, as listings with a continuation do, whatever the number of
// keys. An operation is one request.
func BenchmarkPage(b *testing.B) {
	sizes := []int{100_000, 1_000_000}
	if *pageKeys > 0 {
		sizes = append(sizes, *pageKeys)
	}
	for _, keys := range sizes {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			n, half, old := pageStore(b, keys)
			name := func(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("/registry/pods/"), i) }
			for _, at := range []struct {
				name string
				rev  int64
			}{{"new", 0}, {"old", old}, {"half", half}} {
				for _, q := range []struct {
					name     string
					from, to uint64
					request  *pb.RangeRequest
				}{
					{name: "page", request: &pb.RangeRequest{Limit: 500}},
					{name: "page-keys", request: &pb.RangeRequest{Limit: 500, KeysOnly: true}},
					{name: "page-last", request: &pb.RangeRequest{Limit: 500, SortOrder: pb.RangeRequest_DESCEND}},
					{name: "count", request: &pb.RangeRequest{CountOnly: true}},
					{name: "prefix-page", from: 1 << 62, to: 1 << 63, request: &pb.RangeRequest{Limit: 500}},
					{name: "prefix-count", from: 1 << 62, to: 1 << 63, request: &pb.RangeRequest{CountOnly: true}},
					{name: "since", request: &pb.RangeRequest{Limit: 500, MinModRevision: old - 300}},
					{name: "max-mod", request: &pb.RangeRequest{Limit: 500, MaxModRevision: old}},
				} {
					b.Run(q.name+"/"+at.name, func(b *testing.B) {
						start, cpu := uint64(1), cpuTime()
						for b.Loop() {
							start += 0x9e3779b97f4a7c15
							r := proto.Clone(q.request).(*pb.RangeRequest)
							r.Revision = at.rev
							r.Key, r.RangeEnd = name(start>>1), []byte("/registry/pods0")
							if q.to > 0 {
								r.Key, r.RangeEnd = name(q.from+start>>3), name(q.to)
							}
							if _, err := n.Range(b.Context(), r); err != nil {
								b.Fatal(err)
							}
						}
						b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
					})
				}
			}
		})
	}
}
