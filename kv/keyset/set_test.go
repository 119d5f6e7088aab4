package keyset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSetCounts edits a set at random beside a sorted list, and sees that each set counts as it did when it was
// published, whatever became of its successors.
func TestSetCounts(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		keys := 1 << (2 * (seed + 1))
		name := func() string { return fmt.Sprintf("%x", random.IntN(keys)) }
		type published struct {
			set  Set
			keys []string
		}
		var all []published
		var list []string
		var set Set
		for round := range 60 {
			abandoned := set.Change()
			edit := set.Change()
			for range random.IntN(keys/4 + 2) {
				key := name()
				i, found := slices.BinarySearch(list, key)
				switch grow := round%20 < 10; {
				case random.IntN(4) != 0 == grow:
					if edit.Add(key); !found {
						list = slices.Insert(list, i, key)
					}
					abandoned.Remove(name())
				default:
					if edit.Remove(key); found {
						list = slices.Delete(list, i, i+1)
					}
					abandoned.Add(name())
				}
			}
			set = edit.Set()
			all = append(all, published{set: set, keys: slices.Clone(list)})
		}
		for n, p := range all {
			if err := p.set.valid(); err != nil {
				t.Fatalf("seed %d, set %d: %v", seed, n, err)
			}
			for range 50 {
				from, to := name(), name()
				end := []byte(to)
				if random.IntN(4) == 0 {
					end = nil
				}
				want := 0
				for _, key := range p.keys {
					if key >= from && (end == nil || key < to) {
						want++
					}
				}
				if got := p.set.Count([]byte(from), end); got != int64(want) {
					t.Fatalf("seed %d, set %d counts %d keys in [%s, %s), want %d", seed, n, got, from, end, want)
				}
			}
			if p.set.Len() != len(p.keys) {
				t.Fatalf("seed %d, set %d has %d keys, want %d", seed, n, p.set.Len(), len(p.keys))
			}
		}
	}
}

// TestSetFilledInOrder sees that a set filled in order has full leaves.
func TestSetFilledInOrder(t *testing.T) {
	edit := Set{}.Change()
	for i := range 100 * maxNodeKeys {
		edit.Add(fmt.Sprintf("%08d", i))
	}
	set := edit.Set()
	if err := set.valid(); err != nil {
		t.Fatal(err)
	}
	leaves := 0
	var walk func(n *node)
	walk = func(n *node) {
		if n.children == nil {
			leaves++
		}
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(set.root)
	if leaves != 100 {
		t.Errorf("%d leaves for 100 leaves' keys", leaves)
	}
}

// TestValidFindsWhatIsWrong breaks a good set in one place at a time.
func TestValidFindsWhatIsWrong(t *testing.T) {
	build := func() Set {
		edit := Set{}.Change()
		for i := range 3 * maxNodeKeys {
			edit.Add(fmt.Sprintf("%04d", i))
		}
		return edit.Set()
	}
	for what, spoil := range map[string]func(root *node){
		"K1, twice":    func(root *node) { root.children[1].keys[3] = root.children[1].keys[2] },
		"K1, order":    func(root *node) { slices.Reverse(root.children[0].keys) },
		"K1, count":    func(root *node) { root.children[0].count--; root.count-- },
		"K2, count":    func(root *node) { root.count++ },
		"K2, bounds":   func(root *node) { root.keys = root.keys[:2] },
		"K2, interval": func(root *node) { root.keys[1] = "0000" },
		"K3, empty":    func(root *node) { root.count -= root.children[2].count; *root.children[2] = node{} },
		"K3, depth": func(root *node) {
			deeper := *root.children[0]
			root.children[0] = &node{keys: []string{""}, children: []*node{&deeper}, count: deeper.count}
		},
		"K4, owner": func(root *node) { root.children[1].owner = 9 },
	} {
		set := build()
		if err := set.valid(); err != nil {
			t.Fatal(err)
		}
		spoil(set.root)
		if set.valid() == nil {
			t.Errorf("%s: not found", what)
		}
	}
}
