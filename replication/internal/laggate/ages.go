package laggate

import (
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// maxSamples bounds ages: beyond it, every second one goes, and ages grow coarser, never less.
const maxSamples = 1024

// ages remember when positions were reached.
type ages struct{ samples []sample }

type sample struct {
	at       time.Time
	position contract.Position
}

// note says that the history reaches up to p now.
func (a *ages) note(now time.Time, p contract.Position) {
	if n := len(a.samples); n > 0 && a.samples[n-1].position >= p {
		a.samples[n-1].at = now // it reached nothing further until now
		return
	}
	if len(a.samples) >= maxSamples {
		kept := a.samples[:0]
		for i, s := range a.samples {
			if i%2 == 0 {
				kept = append(kept, s)
			}
		}
		a.samples = kept
	}
	a.samples = append(a.samples, sample{now, p})
}

// of returns for how long at most what follows p has been there, of what was written since the first note; zero if
// nothing follows it.
func (a *ages) of(now time.Time, p contract.Position) time.Duration {
	n := len(a.samples)
	if n == 0 || a.samples[n-1].position <= p {
		return 0
	}
	i, found := slices.BinarySearchFunc(a.samples, p, func(s sample, p contract.Position) int {
		switch {
		case s.position < p:
			return -1
		case s.position > p:
			return 1
		}
		return 0
	})
	if !found {
		i = max(i-1, 0)
	}
	return now.Sub(a.samples[i].at)
}
