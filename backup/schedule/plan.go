package schedule

import (
	"slices"
	"time"
)

const (
	// skew is how far ahead the clock of another node may be, so that its backups count.
	skew = 10 * time.Minute
	// firstRetry is how long the first wait is after a failure, and lastRetry the longest.
	firstRetry = time.Minute
	lastRetry  = 30 * time.Minute
)

// Plan says when there is to be a backup, and which are kept. All of it is pure.
type Plan struct {
	Every time.Duration // length of a slot, more than 0; slots begin at whole multiples of it, in UTC
	// Keep is how many of the newest are kept, and KeepFor for how long any is; 0 is a rule that keeps none. What
	// neither rule keeps goes, but if both are 0 nothing does. See Excess for what the clock is believed.
	Keep    int
	KeepFor time.Duration
}

// counted returns those that are not of a time to come.
func counted(taken []Backup, now time.Time) []Backup {
	return slices.DeleteFunc(slices.Clone(taken), func(b Backup) bool { return b.At.After(now.Add(skew)) })
}

// Newest returns the newest backup that counts.
func Newest(taken []Backup, now time.Time) (b Backup, found bool) {
	if taken = counted(taken, now); len(taken) == 0 {
		return b, false
	}
	return taken[len(taken)-1], true
}

// Due returns when the next backup is due, given those that there are, the oldest first: when the slot begins that has
// none, which is over if it is due already.
func (p Plan) Due(taken []Backup, now time.Time) time.Time {
	newest, found := Newest(taken, now)
	if !found {
		return now.Truncate(p.Every)
	}
	return newest.At.Truncate(p.Every).Add(p.Every)
}

// Excess returns what is to be deleted, the oldest first, of all that there are, the oldest first. The newest never is,
// nor what is Astray or of others. No clock decides that alone: what is older than KeepFor goes only when there are as
// many newer ones as that time has slots, and held is how many stay for that reason: slots were missed, or a clock is
// ahead. What is Alone may be given up one day, so it pushes out nothing else: both are judged for themselves, what is
// shared as of when the last of it was taken. spared is how many stay for that reason.
func (p Plan) Excess(all []Ranked, now time.Time) (excess []Backup, held, spared int) {
	shared, alone := only(all, Own, Unplaced), only(all, Alone)
	if len(alone) == 0 {
		excess, held = p.excess(shared, now)
		return excess, held, 0
	}
	together, _ := p.excess(only(all, Own, Unplaced, Alone), now)
	then := now
	if len(shared) > 0 && shared[len(shared)-1].At.Before(now) {
		then = shared[len(shared)-1].At
	}
	before, _ := p.excess(shared, then)
	after, held := p.excess(alone, now)
	excess = append(before, after...)
	return excess, held, len(together) - len(excess)
}

// only returns those that are one of these.
func only(all []Ranked, these ...Standing) (some []Ranked) {
	for _, r := range all {
		if slices.Contains(these, r.Standing) {
			some = append(some, r)
		}
	}
	return some
}

// excess is Excess of those that go by the number of each other, but for what is Unplaced, which counts for none.
func (p Plan) excess(taken []Ranked, now time.Time) (excess []Backup, held int) {
	if p.Keep == 0 && p.KeepFor == 0 {
		return nil, 0
	}
	behind := 0 // how many are newer
	for _, b := range slices.Backward(taken) {
		if b.At.After(now.Add(skew)) { // of a time to come
			continue
		}
		switch {
		case behind == 0 || behind < p.Keep:
		case p.KeepFor > 0 && now.Sub(b.At) < p.KeepFor:
		case int64(behind) < int64(p.KeepFor/p.Every):
			held++
		default:
			excess = append(excess, b.Backup)
		}
		if b.Standing != Unplaced {
			behind++
		}
	}
	slices.Reverse(excess)
	return excess, held
}

// Doubts reports whether so many held are more than slots that were missed now and then: a tenth of all.
func (p Plan) Doubts(held int) bool { return int64(held)*10 > int64(p.KeepFor/p.Every) }

// Retry returns how long to wait after so many failures in a row.
func (p Plan) Retry(failures int) time.Duration {
	wait := firstRetry
	for ; failures > 1 && wait < lastRetry; failures-- {
		wait *= 2
	}
	return min(wait, lastRetry, p.Every)
}
