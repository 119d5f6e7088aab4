package propose

import (
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// leased is a bench with a lease until a time of its own, and a ceiling; a write is to be in so many regions.
type leased struct {
	*bench
	now, until int
	ceiling    timeline.Position
	spread     int
}

func (l *leased) Admits(e timeline.Epoch, p timeline.Position) (regions int, ok bool) {
	return l.spread, e == l.cursor.Epoch && l.now < l.until && p <= l.ceiling
}

// TestNothingIsAcknowledgedWithoutALease, however long the pipeline stays open behind its end: it is told of that late,
// and takes and makes frames all the while. Whoever is acknowledged is so at a moment of the lease, under the ceiling.
func TestNothingIsAcknowledgedWithoutALease(t *testing.T) {
	done, late := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := &leased{bench: newBench(t), until: 10, ceiling: 15, spread: 1 + int(seed%2)}
		l.standing, l.durability = l, l
		l.lead(5)
		told := 0
		put := func() {
			u := l.propose(10)
			u.finish = func(r result) {
				if r.err != nil {
					return
				}
				done++
				if k, ok := l.Admits(r.receipt.Epoch, r.receipt.Position); !ok || r.receipt.Regions < k {
					t.Fatalf("seed %d: position %d is acknowledged at %d, with a lease until %d and ceiling %d", seed,
						r.receipt.Position, l.now, l.until, l.ceiling)
				}
			}
			if l.enqueue(u) && l.now >= l.until {
				late++
			}
		}
		for range 400 {
			switch r.IntN(9) {
			case 0, 1, 2:
				put()
			case 3, 4:
				l.step()
			case 5: // applied
				if frames := l.frames(); told < len(frames) {
					f := &frames[told]
					told++
					l.told(region.Outcome{Term: 5, Index: 1, Epoch: f.Epoch, First: f.First})
				}
			case 6:
				l.now += r.IntN(8)
			case 7: // renewed, and looked at late or not at all
				if r.IntN(2) == 0 {
					l.until, l.ceiling = l.now+10, l.ceiling+timeline.Position(r.IntN(9))
				}
				if l.writes = l.now < l.until; r.IntN(2) == 0 {
					l.evaluate()
				}
			case 8: // another region is heard
				if len(l.waits) > 0 {
					w := l.waits[0]
					l.waits = l.waits[1:]
					w.receipt.Regions = max(w.k, l.spread)
					w.done(w.receipt, nil)
				}
			}
		}
		l.abandon(contract.ErrClosed)
	}
	if done < 1000 || late < 200 {
		t.Errorf("%d acknowledged, %d taken behind the end of a lease", done, late)
	}
}
