package lease

import "time"

// Left returns what is left of a time to live, in seconds, that began to run so long ago: nothing where it may be over,
// and else at most a second too much, so that what is told within that is what was granted. What is gone or due stays
// that.
func Left(ttl int64, age time.Duration) int64 {
	if ttl <= 0 {
		return ttl
	}
	return max(0, ttl-int64(max(0, age)/time.Second))
}
