package kv

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// node is a store with what a replicator would do for it.
type node struct {
	*Store
	t        testing.TB
	fs       vfs.FS
	metadata replication.Metadata
}

func openNode(t testing.TB, fs vfs.FS) *node {
	return openNodeWith(t, Options{FS: fs, MemTableBytes: 1 << 20})
}

func openNodeWith(t testing.TB, o Options) *node {
	t.Helper()
	o.Dir, o.CacheBytes = "store", 8<<20
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := &node{Store: s, t: t, fs: o.FS}
	m, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if m != nil {
		n.metadata = *m
	}
	return n
}

func newNode(t testing.TB) *node { return openNode(t, vfs.NewMem()) }

// apply applies commands as one batch.
func (n *node) apply(commands ...[]byte) [][]byte {
	n.t.Helper()
	b := &replication.Batch{First: n.metadata.Position + 1, Metadata: &n.metadata, WantResults: true}
	for _, c := range commands {
		b.Commands = append(b.Commands, replication.Command{Data: c})
	}
	n.metadata.Position += replication.Position(len(commands))
	n.metadata.AppliedIndex++
	results, err := n.Apply(b)
	if err != nil {
		n.t.Fatal(err)
	}
	if len(results) != len(commands) {
		n.t.Fatalf("%d results for %d commands", len(results), len(commands))
	}
	return results
}

func (n *node) begin(lossy bool) {
	n.t.Helper()
	n.metadata.Epoch++
	n.metadata.AppliedIndex++
	if err := n.Begin(replication.Reign{Epoch: n.metadata.Epoch, Lossy: lossy}, &n.metadata); err != nil {
		n.t.Fatal(err)
	}
}

func put(key, value string) []byte {
	return command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func del(key, end string) []byte {
	return command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
}

func compact(rev int64) []byte { return command.EncodeCompaction(&pb.CompactionRequest{Revision: rev}) }

// get renders the value of key at rev, "-" if there is none.
func (n *node) get(key string, rev int64) string {
	n.t.Helper()
	r, err := n.Range(n.t.Context(), &pb.RangeRequest{Key: []byte(key), Revision: rev})
	if err != nil {
		return err.Error()
	}
	if len(r.Kvs) == 0 {
		return "-"
	}
	kv := r.Kvs[0]
	return fmt.Sprintf("%s c%d m%d v%d", kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version)
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestRevisionsFollowEtcd(t *testing.T) {
	n := newNode(t)
	expect(t, "empty store", n.Revision(), 1)
	expect(t, "never compacted", n.CompactRevision(), -1)
	n.apply(put("a", "1"), put("a", "2"), put("b", "3"))
	expect(t, "after three puts", n.Revision(), 4)
	n.apply(del("a", ""), del("nothing", ""), put("a", "4"))
	expect(t, "a delete of nothing takes no revision", n.Revision(), 6)
	for rev, want := range map[int64]string{
		1: "-", 2: "1 c2 m2 v1", 3: "2 c2 m3 v2", 4: "2 c2 m3 v2", 5: "-", 6: "4 c6 m6 v1",
	} {
		expect(t, fmt.Sprint("a at ", rev), n.get("a", rev), want)
	}
	expect(t, "future", n.get("a", 7), command.ErrFutureRevision.Error())
	n.apply(compact(4))
	expect(t, "compacted", n.get("a", 3), command.ErrCompacted.Error())
	expect(t, "at the compaction", n.get("a", 4), "2 c2 m3 v2")
}

func TestMetadataSurvives(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, fs)
	if m, err := n.Load(); m != nil || err != nil {
		t.Fatalf("new store holds %v, %v", m, err)
	}
	n.apply(put("a", "1"))
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, fs)
	expect(t, "position", n.metadata.Position, 1)
	expect(t, "contents", n.get("a", 0), "1 c2 m2 v1")
}
