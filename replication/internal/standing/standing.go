// Package standing is what this node knows of who is primary: the highest claim, whether this region may act on its
// own, and where writes go.
//
// It promises that a region which heard of a higher claim than its own counts as entitled to nothing from that moment
// (invariant 6), and that nothing is entitled before the other regions were asked. It decides nothing else: timeline
// has the rules, and it reads them off the applied state and the fleet's picture.
package standing

import (
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Leader tells where this region's own leader is.
type Leader interface {
	// LeaderAddr returns its peer address, "" if none is known.
	LeaderAddr() string
}

// Standing is safe for concurrent use.
type Standing struct {
	region     string
	applied    *region.Applied
	leadership *region.Leadership
	fleet      *fleet.Watcher
	leader     Leader
}

// New returns the standing of a node of the region with this name.
func New(name string, a *region.Applied, l *region.Leadership, f *fleet.Watcher, leader Leader) *Standing {
	return &Standing{region: name, applied: a, leadership: l, fleet: f, leader: leader}
}

// Claim returns the highest claim to be primary that is known here; the zero Reign if there is none yet.
func (s *Standing) Claim() timeline.Reign { return s.claim(s.applied.State()) }

func (s *Standing) claim(st *timeline.State) timeline.Reign {
	v, _ := s.fleet.View()
	return v.Claim(st.HighestClaim())
}

// Entitled reports whether the region in this state acts as primary as far as is known here: it is primary and not
// sealed, every other region was asked at least once since this process started, and none of them has a higher claim.
func (s *Standing) Entitled(st *timeline.State) bool {
	v, _ := s.fleet.View()
	own := st.HighestClaim()
	return st.Writable() && v.Settled() && !timeline.Supersedes(v.Claim(own), own)
}

// MayWrite returns the applied place, and whether the region may write there.
func (s *Standing) MayWrite() (timeline.Cursor, bool) {
	st := s.applied.State()
	return st.Cursor, s.Entitled(st)
}

// Primary reports whether this region is the primary, as far as is known here: of the reign with the highest claim, and
// not of another that it began itself.
func (s *Standing) Primary() bool {
	st := s.applied.State()
	return st.Role() == timeline.Primary && !timeline.Supersedes(s.claim(st), st.HighestClaim())
}

// Route is where writes go now.
type Route struct {
	Local bool   // to this node
	Addr  string // to the leader of the primary region; "" if none is known
}

// Route returns where writes go, as far as is known here: to this node, to the leader of this region, or to the leader
// of the region with the highest claim.
func (s *Standing) Route() Route {
	v, _ := s.fleet.View()
	claim := v.Claim(s.applied.State().HighestClaim())
	if claim.Primary == s.region {
		if s.leadership.Leads() {
			return Route{Local: true}
		}
		return Route{Addr: s.leader.LeaderAddr()}
	}
	if l := v.Regions[claim.Primary].Leader(); l != nil {
		return Route{Addr: l.Asked}
	}
	return Route{}
}
