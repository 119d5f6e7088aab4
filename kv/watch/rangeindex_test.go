package watch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/kv/command"
)

func TestRangeIndexFindsWhatAListFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var x rangeIndex
	var list []*Watcher
	name := func() []byte { return []byte(fmt.Sprintf("%02d", random.IntN(40))) }
	for range 3000 {
		switch k := random.IntN(4); {
		case k < 2:
			end := name()
			if random.IntN(8) == 0 {
				end = []byte{0}
			}
			w := &Watcher{span: command.SpanOf(name(), end)}
			x.add(w)
			list = append(list, w)
		case k == 2 && len(list) > 0:
			i := random.IntN(len(list))
			x.remove(list[i])
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			x.root.all(0, func(n *rangeNode, _ int) {
				if err := n.valid(); err != nil {
					t.Fatal(err)
				}
			})
		default:
			key := name()
			found := map[*Watcher]int{}
			x.visit(key, func(w *Watcher) { found[w]++ })
			for _, w := range list {
				want := 0
				if w.span.Contains(key) {
					want = 1
				}
				if found[w] != want {
					t.Fatalf("key %s, interval [%s, %s): found %d times, want %d",
						key, w.span.Start, w.span.End, found[w], want)
				}
			}
		}
	}
}

// However intervals come, in order or not, the way to one is short: coming and going costs the same beside ten others
// and beside a hundred thousand.
func TestRangeIndexStaysLow(t *testing.T) {
	const intervals = 20_000
	for name, at := range map[string]func(i int) int{
		"rising": func(i int) int { return i }, "falling": func(i int) int { return intervals - i },
		"from both sides": func(i int) int { return intervals/2 + (1-2*(i%2))*i/2 },
	} {
		t.Run(name, func(t *testing.T) {
			var x rangeIndex
			var list []*Watcher
			for i := range intervals {
				start := fmt.Appendf(nil, "%08d", at(i))
				list = append(list, &Watcher{span: command.SpanOf(start, append(start, '~'))})
				x.add(list[i])
			}
			deepest := func() (depth int) {
				x.root.all(1, func(_ *rangeNode, d int) { depth = max(depth, d) })
				return depth
			}
			// The depth of a random tree of n nodes is near 3 log2 n; 17 of 18 of them go away.
			if d := deepest(); d > 80 {
				t.Errorf("%d intervals lie %d deep", intervals, d)
			}
			for i, w := range list {
				if i%18 != 0 {
					x.remove(w)
				}
			}
			if d := deepest(); d > 80 {
				t.Errorf("%d intervals that remain lie %d deep", intervals/18, d)
			}
			for i, w := range list {
				if i%18 == 0 {
					x.remove(w)
				}
			}
			if x.root != nil {
				t.Error("something remains of nothing")
			}
		})
	}
}

// BenchmarkJoin is a watcher that comes and goes, with a write in between, beside others of other intervals.
func BenchmarkJoin(b *testing.B) {
	for _, others := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			var x index
			for i := range others {
				start := fmt.Appendf(nil, "%08d/", i)
				x.add(&Watcher{span: command.SpanOf(start, append(start, 0xff))})
			}
			w := &Watcher{span: command.SpanOf([]byte("5/"), []byte("50"))}
			b.ReportAllocs()
			for b.Loop() {
				x.add(w)
				x.visit([]byte("00000005/x"), func(*Watcher) {})
				x.remove(w)
			}
		})
	}
}

// BenchmarkCrowd is a watcher that comes and goes beside others of the same interval.
func BenchmarkCrowd(b *testing.B) {
	for _, others := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			var x index
			span := command.SpanOf([]byte("a"), []byte("b"))
			list := make([]*Watcher, others)
			for i := range list {
				list[i] = &Watcher{span: span}
				x.add(list[i])
			}
			for i := 0; b.Loop(); i++ {
				x.remove(list[i%others])
				x.add(list[i%others])
			}
		})
	}
}
