package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// pages is a store beside the model, with more keys than a block has.
type pages struct {
	t       *testing.T
	random  *rand.Rand
	options Options
	n       *node
	m       *model
	names   int
	copies  int
}

func (p *pages) key() []byte { return fmt.Appendf(nil, "k/%03x", p.random.IntN(p.names)) }

// revision draws one that can be read, mostly.
func (p *pages) revision() int64 {
	low := max(p.m.compact, 1)
	if len(p.m.gaps) > 0 && p.random.IntN(2) == 0 {
		low = max(low, p.m.gaps[len(p.m.gaps)-1][1])
	}
	if p.random.IntN(4) == 0 {
		return 0
	}
	return low + p.random.Int64N(min(p.m.revision-low, 4000)+1)
}

func (p *pages) query() *pb.RangeRequest {
	pick := func(of ...int64) int64 { return of[p.random.IntN(len(of))] }
	q := &pb.RangeRequest{
		Key: p.key(), RangeEnd: p.key(), Revision: p.revision(), Limit: pick(0, 1, 7, 100),
		KeysOnly: p.random.IntN(2) == 0, CountOnly: p.random.IntN(5) == 0,
		SortOrder:  pb.RangeRequest_SortOrder(pick(0, 0, 1, 2)),
		SortTarget: pb.RangeRequest_SortTarget(pick(0, 0, 0, 0, 1, 2, 3, 4)),
	}
	switch p.random.IntN(4) {
	case 0:
		q.Key, q.RangeEnd = []byte{0}, []byte{0}
	case 1:
		q.Key, q.RangeEnd = []byte("k/1"), []byte("k/2")
	}
	recent := func() int64 { return p.m.revision - p.random.Int64N(60) }
	switch p.random.IntN(6) {
	case 0:
		q.MinModRevision = recent()
	case 1:
		q.MinCreateRevision, q.MaxModRevision = recent(), pick(0, recent())
	case 2:
		q.MaxModRevision, q.MaxCreateRevision = p.revision(), p.revision()
	}
	return q
}

// change draws a request that changes something.
func (p *pages) change(grow bool) any {
	switch kind := p.random.IntN(40); {
	case kind == 0:
		from := p.random.IntN(p.names)
		return &pb.DeleteRangeRequest{
			Key: fmt.Appendf(nil, "k/%03x", from), RangeEnd: fmt.Appendf(nil, "k/%03x", from+p.random.IntN(200)),
		}
	case kind < 4:
		q := &pb.TxnRequest{}
		for range 4 {
			q.Success = append(q.Success, []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: p.key()}}},
				{Request: &pb.RequestOp_RequestRange{RequestRange: p.query()}},
			}...)
		}
		return q
	case kind < 20 == grow:
		return &pb.DeleteRangeRequest{Key: p.key()}
	}
	return &pb.PutRequest{Key: p.key(), Value: []byte{byte(p.random.IntN(256))}}
}

// batch applies changes to both, together, and compares results.
func (p *pages) batch(size int, grow bool) {
	p.t.Helper()
	var qs, wants []any
	var errs []error
	var commands [][]byte
	for range size {
		q := p.change(grow)
		want, err := p.m.apply(q)
		qs, wants, errs = append(qs, q), append(wants, want), append(errs, err)
		commands = append(commands, encodeRequest(q))
	}
	for i, result := range p.n.apply(commands...) {
		got, err := decodeFor(qs[i], result)
		if !errors.Is(err, errs[i]) || err == nil && !proto.Equal(got, wants[i].(proto.Message)) {
			p.t.Fatalf("%v:\n got %v, %v\nwant %v, %v", qs[i], got, err, wants[i], errs[i])
		}
	}
}

func (p *pages) check(s *Store) {
	p.t.Helper()
	for range 4 {
		q := p.query()
		rev := q.Revision
		if rev == 0 {
			rev = p.m.revision
		}
		err := p.m.readable(rev)
		got, gotErr := s.Range(p.t.Context(), q)
		if !errors.Is(gotErr, err) {
			p.t.Fatalf("%v: %v, want %v", q, gotErr, err)
		}
		if err != nil {
			continue
		}
		if want := p.m.rangeKeys(q, p.m.revision); !proto.Equal(got, want) {
			p.t.Fatalf("%v:\n got %d of %d, more %t: %v\nwant %d of %d, more %t: %v", q, len(got.Kvs), got.Count,
				got.More, got.Kvs, len(want.Kvs), want.Count, want.More, want.Kvs)
		}
	}
}

// upset does what changes more than keys.
func (p *pages) upset() {
	t := p.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p.copies++
	dir := fmt.Sprint("copy", p.copies)
	switch p.random.IntN(5) {
	case 0:
		q := &pb.CompactionRequest{Revision: max(p.m.compact+1, p.m.revision-p.random.Int64N(300))}
		if p.m.readable(q.Revision) == nil {
			if _, err := p.m.apply(q); err == nil {
				p.n.apply(command.EncodeCompaction(q))
			}
		}
	case 1:
		must(errors.Join(p.n.Sync(), p.n.Close()))
		p.n = openNodeWith(t, p.options)
	case 2:
		must(p.n.Checkpoint(dir))
		must(p.n.Install(dir, nil))
	case 3:
		must(p.n.Checkpoint(dir))
		b, err := p.n.Branch(dir)
		must(err)
		p.check(b.(*sideStore).Store)
		must(b.Close())
	case 4:
		if len(p.m.gaps) < 2 {
			must(p.n.Begin(replication.Reign{Epoch: 1, Lossy: true}, &p.n.metadata))
			p.m.gaps = append(p.m.gaps, [2]int64{p.m.revision, p.m.revision + mvcc.LossyJump})
			p.m.revision += mvcc.LossyJump
		}
	}
}

// TestPagesAtEveryRevision asks for pages and counts of all kinds, at every revision that can be read, beside changes
// and whatever else happens to a store, with memory to count keys, with little, and with none.
func TestPagesAtEveryRevision(t *testing.T) {
	for seed, memory := range []int64{0, 16 << 10, -1} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			p := &pages{
				t: t, random: rand.New(rand.NewPCG(uint64(seed), 7)), m: newModel(), names: 600,
				options: Options{FS: vfs.NewMem(), MemTableBytes: 1 << 20, CountBytes: memory},
			}
			p.n = openNodeWith(t, p.options)
			for round := range 30 {
				p.batch(1+p.random.IntN(60), round%16 < 9)
				p.check(p.n.Store)
				if round%5 == 4 {
					p.upset()
					p.check(p.n.Store)
				}
				if round%7 == 0 {
					settle(t, p.n.Store)
					p.check(p.n.Store)
				}
			}
		})
	}
}

// TestPageReadsWhatItReturns sees that pages and counts take steps over a few blocks of keys, not over all, whatever
// the revision.
func TestPageReadsWhatItReturns(t *testing.T) {
	n := newNode(t)
	const keys = 20_000
	var commands [][]byte
	for i := range keys {
		commands = append(commands, put(fmt.Sprintf("k/%06d", i*7919%keys), "v"))
	}
	n.apply(commands...)
	old := n.Revision()
	commands = commands[:0]
	for i := range keys / 10 {
		commands = append(commands, put(fmt.Sprintf("k/%06d", i*10), "w"), del(fmt.Sprintf("k/%06d", i*10+3), ""),
			put(fmt.Sprintf("k/%06d.new", i*10), "w"))
	}
	n.apply(del("k/005", "k/015"))
	n.apply(commands...)
	before := n.Revision() - 20
	commands = commands[:0]
	for range keys / 10 { // more than what is read change by change
		commands = append(commands, put("k/000010", "x"))
	}
	n.apply(commands...)
	settle(t, n.Store)
	end := []byte("k0")
	for _, rev := range []int64{0, old, old + 500} {
		for name, q := range map[string]*pb.RangeRequest{
			"page":      {Key: []byte("k/003777"), RangeEnd: end, Limit: 100},
			"last page": {Key: []byte("k/"), RangeEnd: end, Limit: 100, SortOrder: pb.RangeRequest_DESCEND},
			"count":     {Key: []byte("k/003777"), RangeEnd: []byte("k/017888"), CountOnly: true},
			"changed":   {Key: []byte("k/"), RangeEnd: end, MinModRevision: n.Revision() - 20},
			"one often": {Key: []byte("k/"), RangeEnd: end, MinModRevision: before},
			"made":      {Key: []byte("k/"), RangeEnd: end, MinCreateRevision: before},
			"changed last": {Key: []byte("k/"), RangeEnd: end, Limit: 10, SortOrder: pb.RangeRequest_DESCEND,
				SortTarget: pb.RangeRequest_MOD},
			"made last": {Key: []byte("k/"), RangeEnd: end, Limit: 10, SortOrder: pb.RangeRequest_DESCEND,
				SortTarget: pb.RangeRequest_CREATE},
			"made last of what changed": {Key: []byte("k/"), RangeEnd: end, Limit: 10,
				SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_CREATE,
				MinModRevision: n.Revision() - 20},
			"what is not": {Key: []byte("k/005"), RangeEnd: []byte("k/015"), Limit: 1},
		} {
			q.Revision = rev
			if got := steps(t, n.Store, q); got > keys/16 {
				t.Errorf("%s at %d takes %d steps, of %d keys", name, rev, got, keys)
			}
		}
	}
}

// steps returns how many steps in the table of versions it takes to answer q.
func steps(t *testing.T, s *Store, q *pb.RangeRequest) (n int) {
	err := s.read(func(v view) error {
		_, err := v.rangeKeys(t.Context(), q)
		n = v.reader.(*mvcc.Reader).Steps()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Who waits no more for what is young among many keys is told so, however few each part of them has.
func TestAFilteredPageEndsWithItsContext(t *testing.T) {
	n := newNode(t)
	key := func(i int) []byte { return fmt.Appendf(nil, "k/%04d", i) }
	for i := range 2000 {
		n.apply(command.EncodePut(&pb.PutRequest{Key: key(i)}))
	}
	old := n.Revision()
	for range 20 {
		for i := range 10 { // with more changes than it is worth to look through
			n.apply(command.EncodePut(&pb.PutRequest{Key: key(200 * i)}))
		}
	}
	settle(t, n.Store)
	q := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), MinModRevision: old + 1}
	if resp, err := n.Range(t.Context(), q); err != nil || len(resp.Kvs) != 10 {
		t.Fatalf("%v, %v", resp, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if resp, err := n.Range(ended, q); !errors.Is(err, context.Canceled) {
		t.Errorf("%d keys, %v", len(resp.GetKvs()), err)
	}
}
