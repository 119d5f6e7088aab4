package autocompact

import (
	"fmt"
	"strconv"
	"time"
)

// Modes of a policy, by the names that etcd gives them.
const (
	Periodic = "periodic"
	Revision = "revision"
)

// Bounds of a period.
const (
	leastPeriod = time.Second
	mostPeriod  = 366 * 24 * time.Hour
)

// Policy is what is kept. The zero value keeps everything.
type Policy struct {
	Period    time.Duration // 0 unless the mode is Periodic
	Revisions int64         // 0 unless the mode is Revision
}

// Parse reads a mode and what it keeps, as etcd does: of Periodic a duration, or a number of hours; of Revision a
// number of revisions; 0 for everything. No mode is Periodic.
func Parse(mode, retention string) (p Policy, err error) {
	n, whole := parseWhole(retention)
	switch mode {
	case "", Periodic:
		if p.Period = time.Duration(n) * time.Hour; !whole || n > int64(mostPeriod/time.Hour) {
			if p.Period, err = time.ParseDuration(retention); err != nil {
				return Policy{}, fmt.Errorf("%q is neither a duration such as 30m nor a number of hours", retention)
			}
		}
		if p.Period != 0 && (p.Period < leastPeriod || p.Period > mostPeriod) {
			return Policy{}, fmt.Errorf("%q is out of bounds: 0, or 1s to 8784h", retention)
		}
	case Revision:
		if !whole {
			return Policy{}, fmt.Errorf("%q is no number of revisions", retention)
		}
		p.Revisions = n
	default:
		return Policy{}, fmt.Errorf("mode %q is unknown: use %s or %s", mode, Periodic, Revision)
	}
	return p, nil
}

// parseWhole reads a whole number that is not negative; none at all is 0.
func parseWhole(text string) (n int64, whole bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

const (
	// mostBetween bounds the time between two compactions of the periodic rule, and looks is how often the revision is
	// looked at in that time.
	mostBetween = time.Hour
	looks       = 10
	// betweenRevisions is the time between two of the other rule.
	betweenRevisions = 5 * time.Minute
)

// between is the time between two compactions.
func (p Policy) between() time.Duration {
	if p.Revisions > 0 {
		return betweenRevisions
	}
	return min(p.Period, mostBetween)
}

// look is how often a keeper of this policy looks.
func (p Policy) look() time.Duration {
	if p.Revisions > 0 {
		return betweenRevisions
	}
	return p.between() / looks
}
