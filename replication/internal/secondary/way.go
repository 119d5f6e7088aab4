package secondary

import (
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// ways is by whom one session follows its source. It is safe for concurrent use.
type ways struct {
	follower *Follower
	source   string

	mu     sync.Mutex
	choice *choice
}

// now implements stream.SinkConfig.Way.
func (w *ways) now(status func() stream.Status, lag func() stream.Lag) stream.Way {
	c := &w.follower.config
	v, _ := c.Fleet.View()
	s := c.Applied.State()
	o := outlookOf(v, s, w.source)
	here := lag()
	o.served = status().Connected && status().Way == "" && !here.AtLeast
	if !here.AtLeast {
		o.late = here.Seconds
	}
	w.mu.Lock()
	to, why := w.choice.next(c.Clock.Now(), o)
	w.mu.Unlock()
	if why != "" && to != "" {
		c.Logger.Info("follows by another region", "source", w.source, "by", to, "since", why)
	} else if why != "" {
		c.Logger.Info("follows the primary itself again", "source", w.source, "since", why)
	}
	if to == "" {
		return stream.Way{}
	}
	claim := v.Claim(s.HighestClaim())
	return stream.Way{Region: to, Addresses: servers(v.Regions[to], claim), Epoch: claim.Epoch}
}

// missed implements stream.SinkConfig.Missed.
func (w *ways) missed(m stream.Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.choice.missed(w.follower.config.Clock.Now(), m.Region)
}

// chosen returns the region by which the source is followed, "" for itself.
func (w *ways) chosen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.choice.now
}

// Upstream returns where the leader is of the region that serves this one, "" if none does now.
func (f *Follower) Upstream() string {
	if n := f.Following(); n != nil && n.Connected {
		v, _ := f.config.Fleet.View()
		if l := v.Regions[n.From()].Leader(); l != nil {
			return l.Asked
		}
	}
	return ""
}

// outlookOf returns by what a region in the state s chooses by whom to follow the primary.
func outlookOf(v fleet.View, s *timeline.State, primary string) *outlook {
	claim := v.Claim(s.HighestClaim())
	o := &outlook{wanted: s.Roster.SourceOf(s.Region), late: -1, regions: map[string]sight{}}
	if o.wanted == primary {
		o.wanted = ""
	}
	for name, r := range v.Regions {
		l := r.Leader()
		switch {
		case name == primary && l != nil:
			o.direct = !l.CutOff()
			o.handed = l.MovingTo == s.Region || l.Sealed != nil && l.Sealed.To == s.Region
		case name != primary:
			o.regions[name] = sightOf(l, claim, primary)
		}
	}
	return o
}

// sightOf returns what is seen of a region by the word of its leader, which may be nil.
func sightOf(l *fleet.Heard, claim timeline.Reign, primary string) sight {
	if l == nil {
		return sight{}
	}
	s := sight{answers: !l.CutOff(), alike: follows(l, claim)}
	if f := l.Following; f != nil {
		s.current, s.lag = f.Connected && !f.AtLeast, f.LagSeconds
		if s.by = f.From(); s.by == primary {
			s.by = ""
		}
	}
	return s
}

// follows reports whether a node has the history of a claim.
func follows(n *fleet.Heard, claim timeline.Reign) bool {
	return !n.Diverged && timeline.Latest(n.Reigns) == claim
}

// servers returns where the nodes of a region are that have the history of a claim, its leader first.
func servers(r fleet.Region, claim timeline.Reign) (addresses []string) {
	leader := r.Leader()
	for i := range r.Nodes {
		if n := &r.Nodes[i]; n == leader && follows(n, claim) {
			addresses = slices.Insert(addresses, 0, n.Asked)
		} else if follows(n, claim) {
			addresses = append(addresses, n.Asked)
		}
	}
	return addresses
}
