package stream

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Against a model that forgets nothing: never below the truth, and exact as long as nothing had to be forgotten.
func TestHorizon(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, steps := range []int{maxMarks / 2, 6 * maxMarks} {
		var h horizon
		var all []mark
		now := time.Unix(1000, 0)
		committed, reached := timeline.Position(0), timeline.Position(0)
		for i := range steps {
			now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
			committed += timeline.Position(random.IntN(3))
			h.add(now, committed)
			all = append(all, mark{now, committed})
			if random.IntN(20) == 0 && i > steps/3 {
				reached += timeline.Position(random.IntN(int(committed-reached) + 1))
			}
			h.reach(reached)
			want, known := time.Time{}, false
			for _, m := range all {
				if m.position <= reached {
					want, known = m.at, true
				}
			}
			got, ok := h.seconds(now)
			truth := now.Sub(want).Seconds()
			switch {
			case ok && !known, ok && got < truth:
				t.Fatalf("step %d: %.3f s (%v), the truth is %.3f s (%v)", i, got, ok, truth, known)
			case steps < maxMarks && (ok != known || ok && got != truth):
				t.Fatalf("step %d: %.3f s (%v), exactly it is %.3f s (%v)", i, got, ok, truth, known)
			case len(h.marks) > maxMarks:
				t.Fatalf("%d marks", len(h.marks))
			}
		}
	}
}
