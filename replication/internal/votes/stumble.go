package votes

import (
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// stumble notices that a machine stood still, or that one of its clocks did while another went on. The wall clock is
// read only to distrust, never to trust.
type stumble struct {
	seen    bool
	elapsed time.Duration
	wall    time.Time
}

const (
	// stumbled is how far two clocks may go apart between two looks.
	stumbled = 500 * time.Millisecond
)

// look returns by how much the clocks went apart since the last look, zero if that is little.
func (s *stumble) look(c clock.Clock) time.Duration {
	elapsed, wall := c.Elapsed(), c.Now()
	before := *s
	*s = stumble{true, elapsed, wall}
	if !before.seen {
		return 0
	}
	lease, monotonic := elapsed-before.elapsed, wall.Sub(before.wall)
	wallOnly := wall.Round(0).Sub(before.wall.Round(0))
	gap := max((lease - monotonic).Abs(), (lease - wallOnly).Abs())
	if gap < stumbled {
		return 0
	}
	return gap
}
