package kv

import (
	"context"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// metered counts what is read through it.
type metered struct {
	reader
	changes, seeks, keys int
}

func (c *metered) Newest(key []byte, rev int64) (mvcc.Version, error) {
	c.seeks++
	return c.reader.Newest(key, rev)
}

func (c *metered) Scan(
	ctx context.Context, sp command.Span, rev, limit int64, visit mvcc.Visitor,
) (count int64, err error) {
	return c.reader.Scan(ctx, sp, rev, limit, func(key []byte, ver *mvcc.Version) error {
		c.keys++
		return visit(key, ver)
	})
}

func (c *metered) Changed(from, rev, most int64, visit func(key []byte, at mvcc.Stamp)) (whole bool, err error) {
	return c.reader.Changed(from, rev, most, func(key []byte, at mvcc.Stamp) {
		c.changes++
		visit(key, at)
	})
}

// What is young is read where it lies, if it lies together, however many changes were made since, and one by one if it
// is scattered: neither many changes for few keys, nor many keys for few changes.
func TestWhatIsYoungIsReadWhereThatIsLess(t *testing.T) {
	n := newNode(t)
	const keys, each = 20_000, 100
	name := func(i int) string { return numbered("k/", i) }
	puts := func(of func(i int) string, many int) {
		for first := 0; first < many; first += each {
			var ops []*pb.RequestOp
			for i := first; i < first+each; i++ {
				ops = append(ops, opPut(of(i), "v"))
			}
			n.apply(txnOf(ops...))
		}
	}
	puts(name, keys)
	made := n.Revision() - 4
	puts(func(i int) string { return name(5 * i) }, keys/5)
	settle(t, n.Store)
	together := n.Revision() - 4
	look := func(what string, q *pb.RangeRequest, want int, most metered) {
		t.Helper()
		q.Key, q.RangeEnd, q.Limit = []byte("k/"), []byte("k0"), 200
		var c metered
		err := n.read(func(v view) error {
			c.reader = v.reader
			v.reader = &c
			got, err := v.rangeKeys(t.Context(), q)
			if err == nil && len(got.Kvs) != want {
				t.Errorf("%s: %d keys, want %d", what, len(got.Kvs), want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.changes > most.changes || c.seeks > most.seeks || c.keys > most.keys {
			t.Errorf("%s takes %d changes, %d seeks and %d keys, want at most %d, %d and %d", what, c.changes, c.seeks,
				c.keys, most.changes, most.seeks, most.keys)
		}
	}
	look("made last", &pb.RangeRequest{MinCreateRevision: made}, 200, metered{changes: each, keys: 600})
	look("changed together", &pb.RangeRequest{MinModRevision: together}, 200, metered{changes: 500, keys: 1500})
	scattered := n.Revision() + 1
	puts(func(i int) string { return name(i * 197 % keys) }, each)
	settle(t, n.Store)
	look("scattered", &pb.RangeRequest{MinModRevision: scattered}, each, metered{changes: each, seeks: each})
}
