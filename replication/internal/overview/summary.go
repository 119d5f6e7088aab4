package overview

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// summarize makes the picture of a fleet from what its nodes said. It is pure.
func summarize(name, asked string, regions map[string]*fleet.Region) *contract.FleetStatus {
	out := &contract.FleetStatus{Fleet: name, Asked: asked}
	var claim timeline.Reign
	for _, r := range regions {
		claim = fleet.View{Regions: map[string]fleet.Region{r.Name: *r}}.Claim(claim)
	}
	out.Primary, out.Epoch = claim.Primary, claim.Epoch
	representatives := map[string]*fleet.Heard{}
	for _, r := range regions {
		representatives[r.Name] = representative(r)
		out.Regions = append(out.Regions, summarizeRegion(r))
	}
	slices.SortFunc(out.Regions, func(a, b contract.RegionStatus) int { return strings.Compare(a.Name, b.Name) })
	tellLost(out.Regions, representatives[out.Primary])
	for i := range out.Regions {
		r := &out.Regions[i]
		r.LossSurvivable = slices.ContainsFunc(out.Regions, func(o contract.RegionStatus) bool {
			return o.Name != r.Name && o.Role != contract.RoleDiverged && holds(representatives[o.Name],
				representatives[r.Name])
		})
	}
	return out
}

// representative returns the report that speaks for a region: its leader's, or else the one that is furthest; nil if
// nobody answered.
func representative(r *fleet.Region) *fleet.Heard {
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

func summarizeRegion(r *fleet.Region) contract.RegionStatus {
	s := contract.RegionStatus{Name: r.Name, Lag: contract.Lag{Seconds: -1}}
	best := representative(r)
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
	s.Role, s.Epoch, s.Position = contract.Role(best.Role), best.Cursor.Epoch, best.Cursor.Position
	s.Chain, s.Sealed = hex.EncodeToString(best.Cursor.Chain[:]), best.Sealed != nil
	if s.Role == contract.RolePrimary {
		s.Lag = contract.Lag{}
	} else if f := best.Following; f != nil {
		s.Lag, s.Activity = contract.Lag{
			Commands: f.LagCommands, Bytes: f.LagBytes, Seconds: f.LagSeconds, AtLeast: f.AtLeast,
		}, f.Activity
	}
	reachable := 0
	for _, m := range best.Members {
		n := contract.NodeStatus{ID: m.ID, Name: m.Name, Region: r.Name, PeerAddr: m.PeerAddr,
			ClientURLs: m.ClientURLs, Learner: m.Learner}
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
	voters := len(slices.DeleteFunc(slices.Clone(s.Nodes), func(n contract.NodeStatus) bool { return n.Learner }))
	s.Survivable = reachable-1 > voters/2
	switch {
	case s.Leader == "":
		s.Problem = "no leader"
	case best.Problem != "":
		s.Problem = best.Problem
	case s.Role == contract.RoleDiverged:
		s.Problem = "history diverged; rejoining"
	case reachable < voters:
		s.Problem = "nodes missing"
	}
	return s
}
