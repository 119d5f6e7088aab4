package patrol

import "time"

// budget is what may be read, in bytes a second, by the lease clock.
type budget struct {
	rate int64         // at least 1
	free time.Duration // when what was read is paid
}

// left returns how long it takes until what was read is paid.
func (b *budget) left(now time.Duration) time.Duration { return max(b.free-now, 0) }

// spend notes what was read.
func (b *budget) spend(now time.Duration, bytes int64) {
	b.free = max(b.free, now) + lasts(bytes, b.rate)
}

// lasts returns how long bytes last at a rate.
func lasts(bytes, rate int64) time.Duration {
	return time.Duration(float64(bytes) / float64(max(rate, 1)) * float64(time.Second))
}

// leastRate is how slow a round gets at least, in bytes a second: what is small is not spread over half a period.
const leastRate = 64 << 10

// pace is how fast a round goes, in bytes a second: never faster than most, and where it is known what the last one
// read (0: it is not) as fast as half a period asks for.
func pace(last, most int64, period time.Duration) int64 {
	if last == 0 {
		return most
	}
	return min(max(int64(float64(last)/(period/2).Seconds()), leastRate), most)
}
