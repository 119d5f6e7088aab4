package ballot

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Back decides, at the leader of the primary, when a region of a higher priority takes over, by a switchover: it never
// asks for votes. It is not safe for concurrent use.
type Back struct {
	id    string
	since map[string]Instant // the region keeps up
	at    map[string]time.Time
	next  Instant // nothing is tried before
	gone  bool    // a switchover is under way
	why   string
}

// BackView is what the leader of the primary sees.
type BackView struct {
	State *timeline.State
	// Leads says that it leads the primary, and has a lease.
	Leads bool
	Wall  time.Time
	Moves []timeline.Move // of the primary by itself, as far as voters told
	// Behind says of a region why it does not keep up, "" if it does.
	Behind func(region string) string
}

// NewBack returns what gives the primary back from the region id.
func NewBack(id string) *Back { return &Back{id: id} }

// Step takes one step at the reading now, and returns the region to which to switch over, "": none. Ended has to follow
// then.
func (b *Back) Step(now Instant, v BackView) string {
	c := v.State.Charter()
	if b.gone {
		return ""
	}
	if b.why = ""; !v.Leads || c == nil || c.Failback == 0 {
		b.since = nil
		return ""
	}
	better := b.better(c)
	if len(better) == 0 {
		return ""
	}
	if !c.Automatic || c.Paused != "" {
		b.since, b.why = nil, better[0].ID+" does not take over: "+timeline.Moves(c, better[0].ID).Text
		return ""
	}
	best := b.look(now, v, better)
	if best == nil {
		return ""
	}
	b.why = fmt.Sprintf("%s, of priority %d, takes over by a switchover at %s if it keeps up until then", best.ID,
		best.Priority, b.at[best.ID].UTC().Format(time.RFC3339))
	over := now-b.since[best.ID] >= c.Failback && now >= b.next
	why, until := Flapping(v.State, v.Moves, nil, v.Wall)
	if why != "" && (over || until.After(b.at[best.ID])) {
		b.why = fmt.Sprintf("%s, of priority %d, does not take over: %s", best.ID, best.Priority, why)
	}
	if why != "" || !over {
		return ""
	}
	b.gone, b.why = true, fmt.Sprintf("%s, of priority %d, takes over now", best.ID, best.Priority)
	return best.ID
}

// better returns the regions of a higher priority than this one, the highest first.
func (b *Back) better(c *timeline.Charter) (list []*timeline.Voter) {
	own := c.Voter(b.id)
	for i := range c.Voters {
		if v := &c.Voters[i]; own != nil && !v.Witness() && v.Priority > own.Priority {
			list = append(list, v)
		}
	}
	slices.SortStableFunc(list, func(x, y *timeline.Voter) int { return cmp.Compare(y.Priority, x.Priority) })
	return list
}

// look notes who keeps up, and returns the first of those, nil if nobody does.
func (b *Back) look(now Instant, v BackView, better []*timeline.Voter) (best *timeline.Voter) {
	if b.since == nil {
		b.since, b.at = map[string]Instant{}, map[string]time.Time{}
	}
	for _, o := range better {
		if why := v.Behind(o.ID); why != "" {
			delete(b.since, o.ID)
			if b.why == "" {
				b.why = fmt.Sprintf("%s, of priority %d, does not take over: %s", o.ID, o.Priority, why)
			}
			continue
		}
		if _, ok := b.since[o.ID]; !ok {
			b.since[o.ID], b.at[o.ID] = now, v.Wall.Add(v.State.Charter().Failback)
		}
		if best == nil {
			best = o
		}
	}
	return best
}

// Ended says what came of the switchover: "" if it is done, or why not. Then who was to take over has to keep up anew.
func (b *Back) Ended(now Instant, why string) {
	b.gone, b.since, b.why = false, nil, ""
	if why != "" {
		b.next = now + soundAgain
	}
}

// UnderWay reports whether Ended has to follow.
func (b *Back) UnderWay() bool { return b.gone }

// Why says what is to happen, or what keeps a region of a higher priority from taking over; "": there is none.
func (b *Back) Why() string { return b.why }
