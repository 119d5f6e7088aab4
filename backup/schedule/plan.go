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

// Excess returns what is to be deleted, the oldest first, of all that there are, the oldest first. The newest never is.
// No clock decides that alone: what is older than KeepFor goes only when there are as many newer ones as that time has
// slots, and held is how many stay for that reason: slots were missed, or a clock is ahead.
func (p Plan) Excess(taken []Backup, now time.Time) (excess []Backup, held int) {
	if p.Keep == 0 && p.KeepFor == 0 {
		return nil, 0
	}
	taken = counted(taken, now)
	for i, b := range taken {
		behind := len(taken) - 1 - i // how many are newer
		switch {
		case behind == 0 || behind < p.Keep:
		case p.KeepFor > 0 && now.Sub(b.At) < p.KeepFor:
		case int64(behind) < int64(p.KeepFor/p.Every):
			held++
		default:
			excess = append(excess, b)
		}
	}
	return excess, held
}

// ExcessApart is Excess where nobody but this region is known to share its history since apart. What it goes on with
// may be given up one day, so what was taken from then on pushes out nothing that was taken before: both are judged for
// themselves. spared is how many stay for that reason. A zero apart is a region that shares what it has.
func (p Plan) ExcessApart(taken []Backup, apart, now time.Time) (excess []Backup, held, spared int) {
	excess, held = p.Excess(taken, now)
	if apart.IsZero() {
		return excess, held, 0
	}
	since := slices.IndexFunc(taken, func(b Backup) bool { return b.At.After(apart) })
	if since < 0 {
		since = len(taken)
	}
	before, _ := p.Excess(taken[:since], apart)
	after, held := p.Excess(taken[since:], now)
	parted := append(before, after...)
	return parted, held, len(excess) - len(parted)
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
