package votes

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// lastPrimary is the primary before a failover, and for how long it was not heard here.
type lastPrimary struct {
	region string
	silent time.Duration // zero: it was never heard, or is this region
}

// unheard returns which region is primary, as far as is known here, and since when it is silent.
func (c *Config) unheard() lastPrimary {
	p := lastPrimary{region: c.Standing.Claim().Primary}
	view, _ := c.Fleet.View()
	if last := view.Regions[p.region].Last; last != nil {
		p.silent = c.Clock.Now().Sub(last.At)
	}
	return p
}

// tellLease tells that the primary has its lease, or lost it. Who handed over needs none.
func (c *Config) tellLease(s *timeline.State, held bool, e timeline.Epoch) {
	switch {
	case held:
		c.event(timeline.Event{Kind: timeline.EventUnfenced, Epoch: e})
	case s.Role() == timeline.Primary:
		c.event(timeline.Event{Kind: timeline.EventFenced, Epoch: e})
	}
}

// tellMove tells that this region took over by votes, of its own accord, from which primary, and what that cost.
func (c *Config) tellMove(from lastPrimary, r timeline.Reign, m timeline.Mandate) {
	e := timeline.Event{
		Kind: timeline.EventTookOver, Other: from.region, Epoch: r.Epoch, Position: r.First - 1, Lossy: r.Lossy,
		Silent: from.silent, ByItself: true,
	}
	if m.Lost != timeline.NoBound {
		e.AtMostLost = &m.Lost
	}
	c.event(e)
}

func (c *Config) event(e timeline.Event) {
	if c.Event != nil {
		c.Event(e)
	}
}
