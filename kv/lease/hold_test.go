package lease

import (
	"testing"
	"time"
)

// No lease of a table that is held comes to its end, whoever is promoted; afterwards each has its full time to live, by
// which it was granted last.
func TestAHeldTableLetsNothingEnd(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		grant(n, 1, 10)
		l.Promote(tenure)
		time.Sleep(9 * time.Second)
		n.Hold(true)
		grant(n, 2, 5)
		grant(n, 3, 5)
		grant(n, 3, 20) // another time
		sound(t, l)
		time.Sleep(time.Hour)
		sound(t, l)
		expect(t, "held", n.Len(), 3)
		if left, ttl, err := l.TimeToLive(1); left != 10 || ttl != 10 || err != nil {
			t.Errorf("while held: %d of %d, %v", left, ttl, err)
		}
		l.Demote()
		l.Promote(tenure)
		time.Sleep(time.Minute)
		expect(t, "held by the next one", n.Len(), 3)
		released := time.Now()
		n.Hold(false)
		n.Hold(false)
		for _, left := range []struct {
			at    time.Duration
			count int
		}{{5*time.Second - time.Millisecond, 3}, {5*time.Second + time.Millisecond, 2},
			{10*time.Second + time.Millisecond, 1}, {20*time.Second - time.Millisecond, 1},
			{20*time.Second + time.Millisecond, 0}} {
			time.Sleep(time.Until(released.Add(left.at)))
			expect(t, "after "+left.at.String(), n.Len(), left.count)
		}
	})
}
