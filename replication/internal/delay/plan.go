package delay

import (
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// stride is how many commands are shown at once: the region applies nothing else meanwhile, not even its vote.
const stride = 20_000

// policy says how late a region is to be.
type policy struct {
	delay    time.Duration // zero: it shows everything
	bytes    uint64        // of history that are held back at most
	released bool          // somebody wants everything shown
	held     bool          // somebody takes over at a place in what is not shown: whatever else is wanted
}

// plan returns what the leader of a region proposes next at the time now, nil if nothing. Receipts rise in position and
// in time: a clock that is set back makes the region later, never less late.
func plan(v *region.View, p policy, now time.Time) *timeline.Control {
	s := &v.State
	if s.Role() != timeline.Secondary || len(s.Reigns) == 0 {
		return nil
	}
	d := s.Delay
	switch {
	case d == nil && p.delay == 0:
		return nil
	case d == nil:
		here := &timeline.Receipt{Position: s.Cursor.Position, Time: now.UTC()}
		return &timeline.Control{Op: timeline.OpDelay, Of: here.Time, Receipt: here}
	case p.delay == 0 && !p.held && v.Shown.Position == s.Cursor.Position:
		return &timeline.Control{Op: timeline.OpUndelay}
	}
	c := &timeline.Control{Op: timeline.OpDelay, Shown: d.Shown}
	switch {
	case p.held:
	case p.delay == 0 || p.released:
		c.Shown = max(d.Shown, min(s.Cursor.Position, farthest(v)))
	case !recovers(s):
		c.Shown = max(d.Shown, min(old(v, p, now), farthest(v)))
	}
	last, at := d.Shown, now.UTC()
	if n := len(v.Receipts); n > 0 {
		last = max(last, v.Receipts[n-1].Position)
		if t := v.Receipts[n-1].Time; t.After(at) {
			at = t
		}
	}
	if s.Cursor.Position > last {
		c.Receipt = &timeline.Receipt{Position: s.Cursor.Position, Time: at}
	}
	if c.Shown == d.Shown && c.Receipt == nil {
		return nil
	}
	if c.Shown > d.Shown {
		c.Of = of(v, c.Shown, at)
	}
	return c
}

// farthest returns up to where a region that shows its history late shows it next, at most. A frame may have more than
// that: it is shown when the last of its commands may be.
func farthest(v *region.View) timeline.Position {
	return max(v.State.Delay.Shown, v.Shown.Position) + stride
}

// recovers reports whether a recovery has made the region the only voter, and its epoch has not begun: it may have been
// ordered at a point, and is ordered again if its leader was lost meanwhile.
func recovers(s *timeline.State) bool {
	c := s.Charter()
	return c != nil && len(c.Voters) == 1 && c.Voters[0].ID == s.Region
}

// old returns up to where the history is as old as the delay, or more than may be held back.
func old(v *region.View, p policy, now time.Time) (shown timeline.Position) {
	for _, r := range v.Receipts {
		if r.Time.After(now.Add(-p.delay)) && v.Bytes-r.Bytes <= p.bytes {
			break
		}
		shown = r.Position
	}
	return min(shown, v.State.Cursor.Position)
}

// of returns when a position came, at the latest: now, if that is not known.
func of(v *region.View, p timeline.Position, now time.Time) time.Time {
	for _, r := range v.Receipts {
		if r.Position >= p {
			return r.Time
		}
	}
	return now
}

// at returns the last position that was there at the time t; ok is false if that is before the first receipt.
func at(v *region.View, t time.Time) (p timeline.Position, ok bool) {
	i := slices.IndexFunc(v.Receipts, func(r region.Received) bool { return r.Time.After(t) })
	if i < 0 {
		i = len(v.Receipts)
	}
	if i == 0 {
		return 0, false
	}
	return v.Receipts[i-1].Position, true
}

// Shows returns of when the state is that a node of a delayed region shows: what came later is not in it. Zero if that
// is not known.
func Shows(v *region.View) time.Time {
	if d := v.State.Delay; d != nil {
		return d.Of
	}
	return time.Time{}
}
