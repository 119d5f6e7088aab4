package lease

import (
	"math"
	"testing"
	"time"
)

// Who is told something is told it of a lease that lives: an answer that came too late says nothing.
func TestLeft(t *testing.T) {
	for _, c := range []struct {
		ttl  int64
		age  time.Duration
		want int64
	}{
		{5, 0, 5}, {5, 999 * time.Millisecond, 5}, {5, time.Second, 4}, {5, 5*time.Second - 1, 1},
		{5, 5 * time.Second, 0}, {5, time.Hour, 0}, {5, -time.Hour, 5}, {0, time.Hour, 0}, {-1, time.Hour, -1},
		{9e9, math.MaxInt64, 0},
	} {
		expect(t, c.age.String(), Left(c.ttl, c.age), c.want)
	}
}
