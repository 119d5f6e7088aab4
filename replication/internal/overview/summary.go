package overview

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// summarize makes the picture of a fleet from what its nodes said. It is pure.
func summarize(name, asked string, now time.Time, regions map[string]*fleet.Region) *contract.FleetStatus {
	out := &contract.FleetStatus{Fleet: name, Asked: asked, TakeWrites: []string{}}
	var claim timeline.Reign
	for _, r := range regions {
		claim = fleet.View{Regions: map[string]fleet.Region{r.Name: *r}}.Claim(claim)
	}
	out.Primary, out.Epoch = claim.Primary, claim.Epoch
	for _, r := range regions {
		out.Regions = append(out.Regions, summarizeRegion(r, now))
	}
	slices.SortFunc(out.Regions, func(a, b contract.RegionStatus) int { return strings.Compare(a.Name, b.Name) })
	if r := regions[out.Primary]; r != nil {
		tellLost(out.Regions, r.Representative())
	}
	alike := func(a, b string) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(regions)), func(r *fleet.Region) bool {
			l := r.Leader()
			return l != nil && (slices.Contains(l.Unlike, a) || slices.Contains(l.Unlike, b))
		})
	}
	for i := range out.Regions {
		r := &out.Regions[i]
		r.LossKnown = confirmed(regions[r.Name])
		r.LossSurvivable = r.LossKnown && slices.ContainsFunc(out.Regions, func(o contract.RegionStatus) bool {
			return o.Name != r.Name && o.Role != contract.RoleDiverged && holds(regions[o.Name].Representative(),
				regions[r.Name].Leader(), alike)
		})
		if r.TakesWrites {
			out.TakeWrites = append(out.TakeWrites, r.Name)
		}
	}
	out.Warnings = warnings(out, claim, historyOf(claim, regions), votersOf(regions[claim.Primary]))
	warnOfAsked(out, regions)
	if r := regions[claim.Primary]; r != nil && r.Leader() != nil {
		out.Warnings, out.Notes = append(out.Warnings, r.Leader().Warnings...), slices.Clone(r.Leader().Notes)
	}
	out.Notes = append(out.Notes, places(out.Regions)...)
	return out
}

// holds reports whether a is known to have everything that b is known to have. Equal reigns and positions prove it only
// where alike says of two regions that neither has another history of a reign.
func holds(a, b *fleet.Heard, alike func(a, b string) bool) bool {
	if a == nil || b == nil {
		return false
	}
	relation, _ := timeline.Compare(b.Reigns, a.Reigns, b.Cursor.Position, a.Cursor.Position)
	known := timeline.Agreeing(b.Origin(), a.Origin())
	return relation == timeline.Prefix && known != timeline.Differ &&
		(known == timeline.Agree || alike(a.Region, b.Region))
}

// confirmed reports whether a leader answered, and a majority of the region's voters names it for its term: then what
// it said covers every write that the region had acknowledged.
func confirmed(r *fleet.Region) bool {
	leader := r.Leader()
	if leader == nil {
		return false
	}
	voters, naming := 0, 0
	for _, n := range nodes(&leader.Report) {
		if n.Learner {
			continue
		}
		voters++
		if h := heard(r, n.ID); h != nil && h.Term == leader.Term && h.LeaderID == leader.ID {
			naming++
		}
	}
	return naming > voters/2
}

// heard returns what a node of the region said, nil if it did not answer.
func heard(r *fleet.Region, id uint64) *fleet.Heard {
	i := slices.IndexFunc(r.Nodes, func(h fleet.Heard) bool { return h.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Nodes[i]
}

// nodes returns the configuration of a region as one of its nodes has it; of an older node only those that described
// themselves.
func nodes(r *fleet.Report) []fleet.Node {
	if len(r.Nodes) > 0 {
		return r.Nodes
	}
	list := make([]fleet.Node, 0, len(r.Members))
	for _, m := range r.Members {
		list = append(list, fleet.Node{ID: m.ID, Name: m.Name, PeerAddr: m.PeerAddr, Learner: m.Learner})
	}
	return list
}

func summarizeRegion(r *fleet.Region, now time.Time) contract.RegionStatus {
	s := contract.RegionStatus{Name: r.Name, Lag: contract.Lag{Seconds: -1}, LastHeard: Last(r.Last, now)}
	best := r.Representative()
	if best == nil {
		s.Problem = silence(r, s.LastHeard)
		return s
	}
	s.Heard, s.By, s.LastHeard = true, best.Node, nil
	s.LeaderAgeSeconds = best.LeaderAgeSeconds
	s.Role, s.Epoch, s.Position = contract.Role(best.Role), best.Cursor.Epoch, best.Cursor.Position
	s.Chain, s.Sealed = hex.EncodeToString(best.Cursor.Chain[:]), best.Sealed != nil
	leads := best.Leader && !r.Torn
	if leads {
		s.Leader, s.TakesWrites = best.Node, best.Writes()
		s.MovingTo, s.Moving = best.MovingTo, best.Moving
	}
	if s.Role == contract.RolePrimary {
		if leads && !best.CutOff() && best.Claim.Primary == r.Name {
			s.Lag = contract.Lag{}
		}
	} else if f := best.Following; f != nil && !best.CutOff() {
		s.Lag, s.Activity = contract.Lag{
			Commands: f.LagCommands, Bytes: f.LagBytes, Seconds: f.LagSeconds, AtLeast: f.AtLeast,
		}, f.Activity
	}
	s.Late = LateOf(best.Late)
	s.Bootstrap = bootstrapOf(best, r)
	countNodes(&s, r, best)
	s.Problem = problems(&s, r, best)
	return s
}

// LateOf describes how late a region is; nil if it is not.
func LateOf(l *fleet.Late) *contract.Late {
	if l == nil {
		return nil
	}
	return &contract.Late{
		DelaySeconds: l.Delay.Seconds(), Shown: l.Shown, Of: l.Of, Full: l.Full, Released: l.Released,
	}
}

// Last describes a report that was heard before; nil if there is none.
func Last(h *fleet.Heard, now time.Time) *contract.LastHeard {
	if h == nil {
		return nil
	}
	return &contract.LastHeard{
		Node: h.Node, Leader: h.Leader, Role: contract.Role(h.Role), Epoch: h.Cursor.Epoch,
		Position: h.Cursor.Position, AgeSeconds: now.Sub(h.At).Seconds(),
	}
}

// countNodes fills in the nodes of the configuration, and which of them answered.
func countNodes(s *contract.RegionStatus, r *fleet.Region, best *fleet.Heard) {
	for _, c := range nodes(&best.Report) {
		n := contract.NodeStatus{ID: c.ID, Name: c.Name, Region: r.Name, PeerAddr: c.PeerAddr, Learner: c.Learner}
		if n.Name == "" {
			n.Name = fmt.Sprintf("%x", c.ID) // as etcdctl member list shows it
		}
		h := heard(r, c.ID)
		for _, m := range best.Members {
			if m.ID == c.ID {
				n.ClientURLs = m.ClientURLs
				n.Expected = c.Learner && h == nil && c.Name == "" && m.Name == "" && m.Starts == 0
				n.WillVote = n.Expected && timeline.PlaceVotes(c.ID)
			}
		}
		n.ReachableKnown = true
		if n.Reachable = h != nil; n.Reachable {
			n.Leader = h.Leader && h.Node == s.Leader
			n.LeaderAgeSeconds, n.CutOff, n.Transfer = h.LeaderAgeSeconds, h.CutOff(), h.Transfer
		} else if n.OtherLife = isStrange(r, c.ID); !n.Expected && !n.OtherLife {
			s.Missing = append(s.Missing, n.Name)
		}
		if !n.Learner {
			s.Voters++
		}
		if !n.Learner && n.Reachable {
			s.Reachable++
		}
		s.Nodes = append(s.Nodes, n)
	}
	slices.SortFunc(s.Nodes, func(a, b contract.NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(s.Missing)
	s.Survivable = s.Reachable-1 > s.Voters/2
}
