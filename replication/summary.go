package replication

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// summarize makes the picture of a fleet from what its nodes said. It is pure.
func summarize(name, asked string, regions map[string]*fleet.Region) *FleetStatus {
	out := &FleetStatus{Fleet: name, Asked: asked}
	var claim timeline.Reign
	for _, r := range regions {
		claim = fleet.View{Regions: map[string]fleet.Region{r.Name: *r}}.Claim(claim)
	}
	out.Primary, out.Epoch = claim.Primary, claim.Epoch
	spokesmen := map[string]*fleet.Heard{}
	for _, r := range regions {
		spokesmen[r.Name] = spokesman(r)
		out.Regions = append(out.Regions, summarizeRegion(r))
	}
	slices.SortFunc(out.Regions, func(a, b RegionStatus) int { return strings.Compare(a.Name, b.Name) })
	for i := range out.Regions {
		r := &out.Regions[i]
		r.LossSurvivable = slices.ContainsFunc(out.Regions, func(o RegionStatus) bool {
			return o.Name != r.Name && o.Role != RoleDiverged && holds(spokesmen[o.Name], spokesmen[r.Name])
		})
	}
	return out
}

// spokesman returns the report that speaks for a region: its leader's, or else the one that is furthest; nil if nobody answered.
func spokesman(r *fleet.Region) *fleet.Heard {
	if l := r.Leader(); l != nil {
		return l
	}
	return r.Furthest()
}

// holds reports whether a has everything that b is known to have.
func holds(a, b *fleet.Heard) bool {
	if a == nil || b == nil {
		return a != nil
	}
	relation, _ := timeline.Compare(b.Reigns, a.Reigns, b.Cursor.Position, a.Cursor.Position)
	return relation == timeline.Prefix
}

func summarizeRegion(r *fleet.Region) RegionStatus {
	s := RegionStatus{Name: r.Name, Lag: Lag{Seconds: -1}}
	best := spokesman(r)
	if best != nil && best.Leader {
		s.Leader = best.Node
	}
	if best == nil {
		s.Problem = "no node answers"
		if r.Err != nil {
			s.Problem += ": " + r.Err.Error()
		}
		return s
	}
	s.Role, s.Epoch, s.Position = Role(best.Role), best.Cursor.Epoch, best.Cursor.Position
	s.Chain, s.Sealed = hex.EncodeToString(best.Cursor.Chain[:]), best.Sealed != nil
	if s.Role == RolePrimary {
		s.Lag = Lag{}
	} else if f := best.Following; f != nil {
		s.Lag, s.Activity = Lag{Commands: f.LagCommands, Bytes: f.LagBytes, Seconds: f.LagSeconds}, f.Activity
	}
	reachable := 0
	for _, m := range best.Members {
		n := NodeStatus{ID: m.ID, Name: m.Name, Region: r.Name, PeerAddr: m.PeerAddr, ClientURLs: m.ClientURLs, Learner: m.Learner}
		for _, h := range r.Nodes {
			if h.ID == m.ID {
				n.Reachable, n.Leader = true, h.Leader && h.Node == s.Leader
			}
		}
		if n.Reachable && !n.Learner {
			reachable++
		}
		s.Nodes = append(s.Nodes, n)
	}
	voters := len(slices.DeleteFunc(slices.Clone(s.Nodes), func(n NodeStatus) bool { return n.Learner }))
	s.Survivable = reachable-1 > voters/2
	switch {
	case s.Leader == "":
		s.Problem = "no leader"
	case s.Role == RoleDiverged:
		s.Problem = "history diverged; rejoining"
	case reachable < voters:
		s.Problem = "nodes missing"
	}
	return s
}
