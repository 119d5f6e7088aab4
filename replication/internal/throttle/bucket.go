package throttle

import "time"

// burst is for how long nothing has to go so that as much may go at once.
const burst = time.Second / 4

// bucket is the tokens of one region: what may go now, in bytes. A message takes all of its bytes, so that there may be
// less than none; then the next one waits until there are some. The zero value is full.
type bucket struct {
	room float64
	at   time.Time
	held time.Duration // in all
}

// due returns how long nothing may go under a cap of so many bytes a second, zero for none.
func (b *bucket) due(rate int64, now time.Time) time.Duration {
	most := float64(rate) * burst.Seconds()
	if rate <= 0 {
		b.room = 0
	} else if b.at.IsZero() {
		b.room += most
	} else if d := now.Sub(b.at); d > 0 {
		b.room = min(b.room+float64(rate)*d.Seconds(), most)
	}
	b.at = now
	if rate <= 0 || b.room > 0 {
		return 0
	}
	return time.Duration((1-b.room)/float64(rate)*float64(time.Second)) + 1
}

// take notes that so many bytes go.
func (b *bucket) take(bytes int) { b.room -= float64(bytes) }
