package votes

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

type still struct {
	clock.Clock
	elapsed time.Duration
	wall    time.Time
}

func (s *still) Elapsed() time.Duration { return s.elapsed }
func (s *still) Now() time.Time         { return s.wall }

// TestAClockThatJumpsIsNoticed, whichever it is, and slow looks are not taken for one.
func TestAClockThatJumpsIsNoticed(t *testing.T) {
	c := &still{elapsed: time.Hour, wall: time.Unix(1e9, 0)}
	var s stumble
	look := func(what string, elapsed, wall, want time.Duration) {
		t.Helper()
		c.elapsed, c.wall = c.elapsed+elapsed, c.wall.Add(wall)
		if gap := s.look(c); gap != want {
			t.Errorf("%s: a gap of %v, want %v", what, gap, want)
		}
	}
	look("at first", 0, 0, 0)
	look("a slow look", 5*time.Second, 5*time.Second, 0)
	look("the wall clock is set", time.Second, time.Minute, 59*time.Second)
	look("the machine was suspended", time.Minute, time.Second, 59*time.Second)
	look("it is slewed", time.Second, 1100*time.Millisecond, 0)
}
