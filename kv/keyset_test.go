package kv

import (
	"context"
	"log/slog"
	"sync"

	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestKeySetCounts edits a set at random beside a sorted list, and sees that each set counts as it did when it was published, whatever
// became of its successors.
func TestKeySetCounts(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		keys := 1 << (2 * (seed + 1))
		name := func() string { return fmt.Sprintf("%x", random.IntN(keys)) }
		type published struct {
			set  keySet
			keys []string
		}
		var all []published
		var list []string
		var set keySet
		for round := range 60 {
			abandoned := set.change()
			edit := set.change()
			for range random.IntN(keys/4 + 2) {
				key := name()
				i, found := slices.BinarySearch(list, key)
				switch grow := round%20 < 10; {
				case random.IntN(4) != 0 == grow:
					if edit.add(key); !found {
						list = slices.Insert(list, i, key)
					}
					abandoned.remove(name())
				default:
					if edit.remove(key); found {
						list = slices.Delete(list, i, i+1)
					}
					abandoned.add(name())
				}
			}
			set = edit.set()
			all = append(all, published{set: set, keys: slices.Clone(list)})
		}
		for n, p := range all {
			checkNode(t, p.set.root, true)
			for range 50 {
				sp := newSpan([]byte(name()), []byte(name()))
				switch random.IntN(4) {
				case 0:
					sp.end = []byte{} // all from there
				case 1:
					sp.end = nil // one key
				}
				want := 0
				for _, key := range p.keys {
					if sp.contains([]byte(key)) {
						want++
					}
				}
				if got := p.set.count(sp); got != int64(want) {
					t.Fatalf("seed %d, set %d counts %d keys in [%s, %s), want %d", seed, n, got, sp.start, sp.end, want)
				}
			}
			if p.set.len() != len(p.keys) {
				t.Fatalf("seed %d, set %d has %d keys, want %d", seed, n, p.set.len(), len(p.keys))
			}
		}
	}
}

// checkNode checks the form of a tree and returns its depth.
func checkNode(t *testing.T, n *keyNode, root bool) (depth int) {
	if n == nil {
		return 0
	}
	if len(n.keys) > maxNodeKeys || !root && len(n.keys) == 0 {
		t.Fatalf("a node of %d keys", len(n.keys))
	}
	if n.children == nil {
		if !slices.IsSorted(n.keys) || n.count != len(n.keys) {
			t.Fatalf("a leaf of %d keys counts %d: %q", len(n.keys), n.count, n.keys)
		}
		return 1
	}
	if len(n.children) != len(n.keys) {
		t.Fatalf("%d bounds of %d children", len(n.keys), len(n.children))
	}
	sum := 0
	for _, c := range n.children {
		sum += c.count
		if d := checkNode(t, c, false) + 1; depth != 0 && d != depth {
			t.Fatalf("leaves at depths %d and %d", depth, d)
		} else {
			depth = d
		}
	}
	if sum != n.count {
		t.Fatalf("a node of %d keys counts %d", sum, n.count)
	}
	return depth
}

// TestKeySetFilledInOrder sees that a set filled in order has full leaves.
func TestKeySetFilledInOrder(t *testing.T) {
	edit := keySet{}.change()
	for i := range 100 * maxNodeKeys {
		edit.add(fmt.Sprintf("%08d", i))
	}
	set := edit.set()
	leaves := 0
	var walk func(n *keyNode)
	walk = func(n *keyNode) {
		if n.children == nil {
			leaves++
		}
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(set.root)
	expect(t, "leaves", leaves, 100)
}

// TestCountsWithAndWithoutKeySet sees that a limit, on how many keys are kept in memory or of one request, changes no answer: beside writes
// that cross it, and after a restart.
func TestCountsWithAndWithoutKeySet(t *testing.T) {
	const keys = 40
	for _, limit := range []int{-1, keys / 4, keys / 2, 2 * keys} {
		fs := vfs.NewMem()
		open := func() *node {
			s, err := Open(Options{FS: fs, Dir: "data", CountedKeys: limit, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return &node{Store: s, t: t}
		}
		n := open()
		m := map[int]bool{}
		random := rand.New(rand.NewPCG(uint64(limit), 1))
		key := func(i int) []byte { return fmt.Appendf(nil, "k%02d", i) }
		for range 300 {
			i := random.IntN(keys)
			if m[i] = random.IntN(3) != 0; m[i] {
				n.apply(EncodePut(&pb.PutRequest{Key: key(i)}))
			} else {
				n.apply(EncodeDeleteRange(&pb.DeleteRangeRequest{Key: key(i)}))
			}
			if random.IntN(20) == 0 {
				if err := n.Sync(); err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				n = open()
			}
			from, to, most := random.IntN(keys), random.IntN(keys+10), random.IntN(8)
			var want int64
			for at := from; at < to; at++ {
				if m[at] {
					want++
				}
			}
			q := &pb.RangeRequest{Key: key(from), RangeEnd: key(to), Limit: int64(most), CountOnly: random.IntN(4) == 0}
			resp, err := n.Range(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			kvs, more := want, false
			if most > 0 {
				kvs, more = min(want, int64(most)), want > int64(most)
			}
			if q.CountOnly {
				kvs, more = 0, false
			}
			if resp.Count != want || int64(len(resp.Kvs)) != kvs || resp.More != more {
				t.Fatalf("with %d counted keys: %v gives %d of %d keys, more %t; want %d of %d, %t",
					limit, q, len(resp.Kvs), resp.Count, resp.More, kvs, want, more)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountBesideApply counts keys of which there are as many as the revision says, while it rises.
func TestCountBesideApply(t *testing.T) {
	n := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for limit := range int64(3) {
		wg.Go(func() {
			for ctx.Err() == nil {
				q := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: limit, CountOnly: limit == 2}
				resp, err := n.Range(ctx, q)
				if err == nil && resp.Count != resp.Header.Revision-firstRevision {
					t.Errorf("%d keys at revision %d", resp.Count, resp.Header.Revision)
					return
				}
			}
		})
	}
	for i := range 3000 {
		n.apply(EncodePut(&pb.PutRequest{Key: fmt.Appendf(nil, "k%d", i)}))
		if i == 1000 {
			if err := n.Checkpoint("copy"); err != nil {
				t.Fatal(err)
			}
			if err := n.Install("copy", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	wg.Wait()
}
