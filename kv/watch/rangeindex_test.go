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
