// Package standing is what this node knows of who is primary: the highest claim, whether this region may act on its
// own, and where writes go.
//
// It promises that a region which heard of a higher claim than its own counts as entitled to nothing from that moment
// (invariant 6), and that nothing is entitled before the other regions were asked. A primary that meets a part of its
// own reign elsewhere that it has not has lost it, and neither writes nor confirms reads (invariant 1). It decides
// nothing else: timeline has the rules, and it reads them off the applied state and the fleet's picture.
package standing

import (
	"fmt"
	"maps"
	"slices"
	"sync"

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
	fence      *Fence

	mu     sync.Mutex
	parted map[string]timeline.Cursor // where a region holds another history than this one, by its name
}

// New returns the standing of a node of the region with this name.
func New(
	name string, a *region.Applied, l *region.Leadership, f *fleet.Watcher, leader Leader, fence *Fence,
) *Standing {
	return &Standing{
		region: name, applied: a, leadership: l, fleet: f, leader: leader, fence: fence,
		parted: map[string]timeline.Cursor{},
	}
}

// Claim returns the highest claim to be primary that is known here; the zero Reign if there is none yet.
func (s *Standing) Claim() timeline.Reign { return s.claim(s.applied.State()) }

func (s *Standing) claim(st *timeline.State) timeline.Reign {
	v, _ := s.fleet.View()
	return v.Claim(st.HighestClaim())
}

// Entitled reports whether the region in this state acts as primary as far as is known here: it is primary and not
// sealed, every other region was asked at least once since this process started, none of them has a higher claim, and
// where votes are taken, a majority promised to vote for nobody else now.
func (s *Standing) Entitled(st *timeline.State) bool {
	v, _ := s.fleet.View()
	own := st.HighestClaim()
	return st.Writable() && v.Settled() && !timeline.Supersedes(v.Claim(own), own) && s.fence.Holds(st)
}

// Admits reports whether what was written up to p in the epoch e may be acknowledged now, once it is in so many
// regions: in one, but where nothing may be lost in as many as no majority of voters can be without.
func (s *Standing) Admits(e timeline.Epoch, p timeline.Position) (regions int, ok bool) {
	return s.fence.Admits(e, p)
}

// Bound returns up to where may be acknowledged in the reign of st, of what is in so many regions; ok is false if
// nothing bounds what a failover may lose.
func (s *Standing) Bound(st *timeline.State) (p timeline.Position, regions int, ok bool) {
	return s.fence.Bound(st)
}

// Deposed reports whether a later epoch than e is known to have begun.
func (s *Standing) Deposed(e timeline.Epoch) bool { return s.Claim().Epoch > e }

// Inherited reports whether another region is known to reign after the epoch e, and to have what was written in it up
// to p.
func (s *Standing) Inherited(e timeline.Epoch, p timeline.Position) bool {
	return len(s.applied.State().Heirs(e, p)) > 0
}

// Cut returns the reign that is known to have begun before p and after the epoch e: what was written there in e is no
// part of the history any more. ok is false if none is.
func (s *Standing) Cut(e timeline.Epoch, p timeline.Position) (by timeline.Reign, ok bool) {
	st := s.applied.State()
	claim := s.claim(st)
	if claim.Epoch <= e && timeline.Latest(st.Reigns).Epoch <= e {
		return claim, false
	}
	v, _ := s.fleet.View()
	known := [][]timeline.Reign{st.Reigns, {claim}}
	if said := v.Regions[claim.Primary].Last; said != nil {
		known = append(known, said.Reigns) // it may tell of one between
	}
	for _, reigns := range known {
		for _, r := range reigns {
			if r.Epoch > e && r.First <= p {
				return r, true
			}
		}
	}
	return claim, false
}

// Confirms reports whether this node may be able to confirm reads by itself. Where votes are taken, only the leader of
// the primary is.
func (s *Standing) Confirms() bool {
	return s.Primary() && (s.applied.State().Charter() == nil || s.leadership.Leads())
}

// MayWrite returns the applied place, whether the region takes the fleet's writes, and if so, whether it may write
// there: below its ceiling, which rises while it reigns. reached is the last position of this reign that this leader
// has proposed, zero if it has proposed none: what it has not applied is not lost.
func (s *Standing) MayWrite(reached timeline.Position) (at timeline.Cursor, reigns, below bool) {
	v, _ := s.fleet.View() // before the state; and reached is where nothing is proposed meanwhile
	return s.mayWrite(v, reached)
}

// mayWrite is MayWrite by a picture that was taken before.
func (s *Standing) mayWrite(v fleet.View, reached timeline.Position) (at timeline.Cursor, reigns, below bool) {
	st := s.applied.State()
	reigns = v.Settled() && s.Entitled(st) && s.Loss(v, st, reached) == nil
	return st.Cursor, reigns, reigns && max(st.Cursor.Position, reached) <= s.fence.Ceiling(st)
}

// Parted takes note that a region holds a place which is not in the history of this node's log.
func (s *Standing) Parted(region string, at timeline.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parted[region] = at
}

func (s *Standing) partedAt(region string) timeline.Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parted[region]
}

// Loss is a part of this region's own reign that another region has and this one has not: it ends before, or has gone
// on with something else. A primary streams what a majority of its voters has on disk, so the disks of a majority went
// back.
type Loss struct {
	Own          string            // this region
	Region, Node string            // that has it
	Has          timeline.Position // its last one
	Ends         timeline.Position // the last one here
	Epoch        timeline.Epoch
	Parted       bool // this region has other contents there
}

// Holds says what is lost, and who has it.
func (l *Loss) Holds() string {
	if l.Parted {
		return fmt.Sprintf("%s holds epoch %d up to position %d with other contents than this region, which wrote it "+
			"and is at %d", l.Node, l.Epoch, l.Has, l.Ends)
	}
	return fmt.Sprintf("%s holds epoch %d up to position %d, and this region, which wrote it, up to %d", l.Node,
		l.Epoch, l.Has, l.Ends)
}

// Error adds the ways out to it.
func (l *Loss) Error() string {
	text := fmt.Sprintf("%s: unless another node leads this region by now, disks of it went back. It takes no writes "+
		"and answers no linearizable reads; to go on with what is there: mimir failover --to %s --force", l.Holds(),
		l.Region)
	if l.Parted {
		text += fmt.Sprintf("; to go on with what is here: mimir failover --to %s --force. What the other one has "+
			"alone is saved as a tail", l.Own)
	}
	return text
}

// Loss returns what a primary in this state is known to have lost by a picture of the fleet, nil if nothing is: it
// holds the history up to st or to reached, if that is further. The picture was taken before these, the state last:
// what others have in a younger one may have been written since. One that is not settled says nothing, though a younger
// one, by which Entitled goes, may be: who asks whether a region may act asks that too.
func (s *Standing) Loss(v fleet.View, st *timeline.State, reached timeline.Position) *Loss {
	var most *Loss
	for name, r := range v.Regions {
		if l := s.loss(st, reached, name, r.Record); l != nil && (most == nil || l.Has > most.Has) {
			most = l
		}
	}
	return most
}

// LossTo is Loss by what one region has alone.
func (s *Standing) LossTo(v fleet.View, st *timeline.State, region string) *Loss {
	return s.loss(st, 0, region, v.Regions[region].Record)
}

// loss returns what the region of this name has of it, by its record.
func (s *Standing) loss(st *timeline.State, reached timeline.Position, name string, h *fleet.Heard) *Loss {
	own := timeline.Latest(st.Reigns)
	if st.Role() != timeline.Primary || h == nil || timeline.Latest(h.Reigns) != own {
		return nil
	}
	reached = max(reached, st.Cursor.Position)
	parted := h.Cursor.Position <= reached && h.Cursor == s.partedAt(name)
	if !parted && h.Cursor.Position <= reached {
		return nil
	}
	return &Loss{
		Own: s.region, Region: name,
		Node: h.Node, Has: h.Cursor.Position, Ends: reached, Epoch: own.Epoch, Parted: parted,
	}
}

// Unlike returns the regions that hold a part of a reign which is not in the history of this one, as far as only this
// node knows it: what Loss is about, and also where a later reign has begun since. The picture was taken first, as for
// Loss.
func (s *Standing) Unlike(v fleet.View, st *timeline.State, reached timeline.Position) (regions []string) {
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		h := v.Regions[name].Record
		if s.loss(st, reached, name, h) != nil || h != nil && h.Cursor == s.partedAt(name) {
			regions = append(regions, name)
		}
	}
	return regions
}

// Primary reports whether this region is the primary, as far as is known here: of the reign with the highest claim,
// and not of another that it began itself.
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
