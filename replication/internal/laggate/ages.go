package laggate

import (
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

const (
	// maxSamples bounds ages: beyond it, some go, and ages grow coarser, never less.
	maxSamples = 1024
	// grain is which part of an age it may be overstated by then.
	grain = 16
)

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
	switch {
	case len(a.samples) == 0 && p > 0:
		a.samples = append(a.samples, sample{now, 0}) // whatever it is of what was there before
	case len(a.samples) >= maxSamples:
		a.thin(now)
	}
	a.samples = append(a.samples, sample{now, p})
}

// thin drops samples that lie close to each other for how long ago they are: what is left of any time is a handful, and
// a few hundred of a month.
func (a *ages) thin(now time.Time) {
	kept := a.samples[:1]
	for i, s := range a.samples[1:] {
		next := i + 2
		if next < len(a.samples) {
			after := a.samples[next].at
			if after.Sub(kept[len(kept)-1].at) <= now.Sub(after)/grain {
				continue
			}
		}
		kept = append(kept, s)
	}
	a.samples = kept
}

// of returns for how long at most what follows p has been there, as far as that is since the first note; zero if
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
