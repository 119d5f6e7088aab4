package secondary

import (
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// better reports whether a region has a node that would serve better than the one at address: its leader, or one that
// is further than p.
func better(r fleet.Region, address string, p timeline.Position) bool {
	leader := r.Leader()
	for i := range r.Nodes {
		if n := &r.Nodes[i]; n.Asked != address && (n == leader || n.Cursor.Position > p) {
			return true
		}
	}
	return false
}

// furthest returns the highest position that a node of the source's region tells of, in the history of its highest
// claim.
func (f *Follower) furthest(source string) timeline.Position {
	v, _ := f.config.Fleet.View()
	if n := v.Regions[source].Furthest(); n != nil {
		return n.Cursor.Position
	}
	return 0
}

// detour returns further regions with nodes that have the history which the source has begun, and more of it than this
// region.
func (f *Follower) detour(source string) (ways []stream.Way) {
	v, _ := f.config.Fleet.View()
	state := f.config.Applied.State()
	claim := v.Claim(state.HighestClaim())
	for name, r := range v.Regions {
		w := stream.Way{Region: name}
		for i := range r.Nodes {
			n := &r.Nodes[i]
			if name != source && follows(n, claim) && n.Cursor.Position > state.Cursor.Position {
				w.Addresses = append(w.Addresses, n.Asked)
			}
		}
		if len(w.Addresses) > 0 {
			ways = append(ways, w)
		}
	}
	return ways
}
