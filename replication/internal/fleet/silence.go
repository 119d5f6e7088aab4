package fleet

import "time"

// SilentFor returns for how long no leader of the region spoke that hears a majority, of the time in which it was
// asked: zero if one did in the last round. When this process stands still nobody is asked: no more than bound counts
// from one round to the next.
func (r *Region) SilentFor(now time.Time, bound time.Duration) time.Duration {
	if r.counted.IsZero() || r.speaks() {
		return 0
	}
	return r.silent + within(now.Sub(r.counted), bound)
}

// speaks reports whether a leader that hears a majority answered in the last round.
func (r *Region) speaks() bool {
	l := r.Leader()
	return l != nil && !l.CutOff()
}

// count takes over how long the region was silent in the picture before, and counts on until now: from when the leader
// was asked that spoke last, or, if none ever did, from the first question.
func (r *Region) count(before *Region, now time.Time, bound time.Duration) {
	if r.speaks() {
		r.silent, r.counted = 0, r.Leader().At
		return
	}
	from := before.counted
	if from.IsZero() {
		from = r.Asked
	}
	r.silent, r.counted = before.silent+within(now.Sub(from), bound), now
}

func within(d, bound time.Duration) time.Duration { return min(max(0, d), bound) }
