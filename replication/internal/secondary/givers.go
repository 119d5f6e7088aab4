package secondary

import (
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// closeFollower is how many commands a follower may have been behind its leader when both were heard, to be asked for a
// copy before it: log is kept behind an older one all the longer.
const closeFollower = 100_000

// givers returns where a copy of a region is asked for, in order: its followers first, so that the leader, which has
// the writes, need not make and read one. A follower that may be no good is asked as late as before. addresses are all
// that are known, in an order that will do; the copy has to be further than after.
func givers(r fleet.Region, addresses []string, after timeline.Position) []string {
	leader := r.Leader()
	if leader == nil {
		return addresses
	}
	var first []string
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if n != leader && slices.Contains(addresses, n.Asked) && giver(n, leader, after) {
			first = append(first, n.Asked)
		}
	}
	return append(first, slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
		return slices.Contains(first, a)
	})...)
}

// giver reports whether a follower would give as good a copy as its leader.
func giver(n, leader *fleet.Heard, after timeline.Position) bool {
	history := !n.Diverged && n.Claim == leader.Claim && n.Cursor.Epoch == leader.Cursor.Epoch &&
		(n.Cursor.Position > after || after == 0) && n.Cursor.Position+closeFollower >= leader.Cursor.Position
	well := !n.Leader && !n.CutOff() && n.Awaits == "" && n.Transfer == nil && n.DiskStalledSeconds == 0 &&
		n.DiskFullSeconds == 0
	return history && well
}
