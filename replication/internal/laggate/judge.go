package laggate

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// Bound is how far a region may be behind. A field that is zero bounds nothing.
type Bound struct {
	Bytes int64
	Age   time.Duration
}

// Limits are those of a fleet. The zero Limits are none.
type Limits struct {
	Regions int // other regions that have to be within; less than 1 counts as 1, more than there are as all
	Delay   Bound
	Refuse  Bound
}

// none reports whether nothing is bounded.
func (l Limits) none() bool { return l.Delay == Bound{} && l.Refuse == Bound{} }

// Behind is how far a region is behind.
type Behind struct {
	Region string
	Bytes  int64 // of log that it has not acknowledged
	Unkept bool  // it needs log that is not there any more: it is further behind than can be told
	Age    time.Duration
}

func (b Behind) String() string {
	if b.Unkept {
		return fmt.Sprintf("region %s needs log that is not kept any more", b.Region)
	}
	return fmt.Sprintf("region %s is %d bytes of log and %v behind", b.Region, b.Bytes, b.Age.Round(time.Millisecond))
}

// Verdict is what is to be done with writes now. The zero Verdict is nothing.
type Verdict struct {
	Delay  time.Duration // between two batches
	Refuse error         // ErrLagging; nil: they are taken
	Why    string        // of either
}

// longest is the delay of who is nearly refused.
const longest = time.Second

// judge returns what limits make of how far the regions are behind.
func judge(l Limits, regions []Behind) Verdict {
	if l.none() || len(regions) == 0 {
		return Verdict{}
	}
	regions = slices.SortedFunc(slices.Values(regions), func(a, b Behind) int {
		switch x, y := l.excess(a), l.excess(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	has := regions[min(max(l.Regions, 1), len(regions))-1]
	switch excess := l.excess(has); {
	case excess <= 0:
		return Verdict{}
	case excess >= 1:
		return Verdict{Why: has.String(), Refuse: fmt.Errorf("%w: %v; writes are taken again when it is nearer, or "+
			"when the lag gate of the primary's nodes is opened", contract.ErrLagging, has)}
	default:
		return Verdict{Why: has.String(), Delay: time.Duration(excess * float64(longest))}
	}
}

// excess returns 0 for a region that is within, 1 for one for which writes are refused, and for one between how far it
// is on that way. Without a bound for refusing, twice the other one is as far as it goes.
func (l Limits) excess(b Behind) float64 {
	if b.Unkept {
		if l.Refuse == (Bound{}) {
			return almost
		}
		return 1
	}
	return max(share(b.Bytes, l.Delay.Bytes, l.Refuse.Bytes), share(b.Age, l.Delay.Age, l.Refuse.Age))
}

// almost is as far as it goes where nothing is refused.
const almost = 0.999

func share[T int64 | time.Duration](is, delay, refuse T) float64 {
	switch {
	case refuse > 0 && is >= refuse:
		return 1
	case delay <= 0 || is <= delay:
		return 0
	case refuse <= 0:
		return min(float64(is-delay)/float64(delay), almost)
	default:
		return min(float64(is-delay)/float64(refuse-delay), almost)
	}
}
