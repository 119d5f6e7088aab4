package primary

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// assess tells what is known of what a failover to this region loses, and what is not (G4).
func (g *Governor) assess(v sight) *contract.MoveReport {
	s := g.config.Applied.State()
	claim := v.Claim(s.HighestClaim())
	r := &contract.MoveReport{From: claim.Primary, To: g.config.Region}
	if s.Diverged == nil {
		r.Position = s.Cursor.Position // as it is asked; complete says more
	}
	if s.Seal != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("region %s may have begun epoch %d by handoff %d; "+
			"if it has, it gives way and saves what it wrote as a tail",
			s.Seal.To, s.Seal.Epoch+1, s.Seal.Handoff))
	}
	if d := s.Diverged; d != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("region %s had given up positions %d to %d for epoch %d of %s, "+
			"and saved them as a tail: they are in the history again, so do not replay that tail; what %s "+
			"acknowledged behind position %d is lost to the fleet, and if it comes back it saves that as a tail",
			s.Region, d.Fork+1, d.At, d.Claim.Epoch, d.Claim.Primary, claim.Primary, d.Fork))
	}
	g.measure(r, v, s)
	for _, name := range g.config.Regions() {
		if name == g.config.Region {
			continue
		}
		if text := g.others(name, v, s, claim); text != "" {
			r.Warnings = append(r.Warnings, text)
		}
	}
	if names := unheard(v.View); len(names) > 0 && s.Charter() == nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("whether the fleet votes about who is primary is unknown here: "+
			"no leader of region %s was heard since this node started; if it does, another region may go on as "+
			"primary beside %s, or become it", strings.Join(names, ", "), s.Region))
	}
	return r
}

// unheard returns the regions of which no leader was heard since this node started: another node may lack the charter.
func unheard(v fleet.View) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		if v.Regions[name].Led == nil {
			names = append(names, name)
		}
	}
	return names
}

// measure fills in what this region lacks of the old primary's history, and how that is known.
func (g *Governor) measure(r *contract.MoveReport, v sight, s *timeline.State) {
	if r.From == r.To || r.From == "" {
		r.BehindKnown = true
		r.Loss = "nothing of another region's history is known to be missing"
		return
	}
	region, answered := v.heard(r.From)
	shared := s.Cursor.Position
	if s.Diverged != nil {
		shared = s.Diverged.Fork
	}
	heard := g.LastHeard(r.From)
	if region.Last != nil {
		heard = max(heard, region.Last.Cursor.Position)
	}
	if heard > shared {
		r.Behind = uint64(heard - shared)
	}
	leader := region.Leader()
	if claim := v.Claim(s.HighestClaim()); answered && leader != nil && leader.Cursor.Epoch < claim.Epoch {
		r.Loss = fmt.Sprintf("how much region %s lacks of %s is unknown: its leader %s is at position %d, and does "+
			"not have epoch %d, which it began: the region has lost its disks, begins with an older copy, or has not "+
			"read its log yet", r.To,
			r.From, leader.Node, leader.Cursor.Position, claim.Epoch)
		if r.Behind > 0 {
			r.Loss += fmt.Sprintf("; it was heard at position %d before, and %s lacks at least %d commands of that",
				heard, r.To, r.Behind)
		}
		return
	}
	if answered && leader != nil && !alike(leader, s) {
		r.Loss = fmt.Sprintf("how much region %s lacks of %s is unknown: %s holds a part of epoch %d that %s has not, "+
			"and may lack what %s has in its place", r.To, r.From, r.To, s.Cursor.Epoch, r.From, r.From)
		return
	}
	if answered && leader != nil {
		r.BehindKnown = true
		r.Loss = fmt.Sprintf("region %s lacks %d commands of %s, whose leader %s was at position %d when it was "+
			"asked; what it acknowledged since comes on top", r.To, r.Behind, r.From, leader.Node,
			leader.Cursor.Position)
		return
	}
	r.Loss = fmt.Sprintf("how much region %s lacks of %s is unknown: no leader of %s answers", r.To, r.From, r.From)
	if region.Last == nil {
		r.Loss += ", and none of its nodes was heard since this one started"
		return
	}
	r.LastHeard = g.last(region.Last)
	missing := "which " + r.To + " has"
	if r.Behind > 0 {
		missing = fmt.Sprintf("and %s lacks at least %d commands of it", r.To, r.Behind)
	}
	r.Loss += fmt.Sprintf("; when it was last heard, %.0f s ago by %s, it was at position %d, %s; what it "+
		"acknowledged since comes on top", r.LastHeard.AgeSeconds, r.LastHeard.Node, r.LastHeard.Position, missing)
}

func (g *Governor) last(h *fleet.Heard) *contract.LastHeard {
	return &contract.LastHeard{
		Node: h.Node, Leader: h.Leader, Role: contract.Role(h.Role), Epoch: h.Cursor.Epoch,
		Position: h.Cursor.Position, AgeSeconds: g.config.Clock.Now().Sub(h.At).Seconds(),
	}
}

// others says what an operator should know of another region before and after this one takes over, "" if nothing.
func (g *Governor) others(name string, v sight, s *timeline.State, claim timeline.Reign) string {
	region, answered := v.heard(name)
	if !answered {
		if name == claim.Primary {
			return "" // said with what is lost
		}
		return fmt.Sprintf("region %s does not answer, and may have more than %s", name, g.config.Region)
	}
	if leader := region.Leader(); name == claim.Primary && leader != nil && leader.Role == timeline.Primary {
		return g.stillPrimary(leader, s)
	}
	most := region.Furthest()
	primary, _ := v.heard(claim.Primary)
	switch l := primary.Leader(); {
	case l == nil && hears(region.Leader(), claim.Primary):
		return fmt.Sprintf("region %s follows %s and heard it within the last seconds: it is not %s that is gone, "+
			"but the way from %s to it: two regions would take writes until it hears of the next epoch, and what it "+
			"acknowledges meanwhile becomes its tail", name, claim.Primary, claim.Primary, g.config.Region)
	case l != nil && slices.Contains(l.Unlike, name) && timeline.Agreeing(origin(s), most.Origin()) != timeline.Agree:
		return fmt.Sprintf("region %s holds a part of epoch %d that %s has not: what %s has not either, it "+
			"saves as a tail", name, most.Cursor.Epoch, l.Region, g.config.Region)
	case !continues(s, most):
		if continuedBy(s, most) {
			return ""
		}
		return fmt.Sprintf("region %s is at position %d of another history, of epoch %d", name, most.Cursor.Position,
			most.Cursor.Epoch)
	case most.Cursor.Position > s.Cursor.Position:
		return fmt.Sprintf("region %s has %d commands more", name, most.Cursor.Position-s.Cursor.Position)
	default:
		return ""
	}
}

// hears reports whether the leader of a region, which may be nil, follows the primary itself, and that said lately
// where it is.
func hears(leader *fleet.Heard, primary string) bool {
	if leader == nil || leader.CutOff() || leader.Following == nil {
		return false
	}
	f := leader.Following
	return f.From() == primary && f.Connected && !f.AtLeast && f.LagSeconds >= 0
}

// stillPrimary says what becomes of what a primary has that answers.
func (g *Governor) stillPrimary(leader *fleet.Heard, s *timeline.State) string {
	text := "region " + leader.Region + " still answers, as primary"
	if !leader.Writes() {
		return fmt.Sprintf("%s, and takes no writes: what it has and %s has not becomes its tail", text,
			g.config.Region)
	}
	text += ": it takes writes until it hears of the next epoch, and what it acknowledges meanwhile becomes its tail"
	if continues(s, leader) {
		text += "; a switchover would lose nothing"
	}
	return text
}

func origin(s *timeline.State) timeline.Origin {
	return timeline.Origin{Cursor: s.Cursor, Reigns: s.Reigns}
}

// alike reports whether nothing is known of two histories of one reign, of which the leader of the primary has one and
// this region another.
func alike(leader *fleet.Heard, s *timeline.State) bool {
	known := timeline.Agreeing(origin(s), leader.Origin())
	return known == timeline.Agree || known == timeline.Unknown && !slices.Contains(leader.Unlike, s.Region)
}

// continues reports whether what a node has goes on where this region's history ends.
func continues(s *timeline.State, h *fleet.Heard) bool {
	relation, _ := timeline.Compare(s.Reigns, h.Reigns, s.Cursor.Position, h.Cursor.Position)
	return relation == timeline.Prefix && timeline.Agreeing(origin(s), h.Origin()) != timeline.Differ
}

// continuedBy reports whether this region's history goes on where that of a node ends.
func continuedBy(s *timeline.State, h *fleet.Heard) bool {
	relation, _ := timeline.Compare(h.Reigns, s.Reigns, h.Cursor.Position, s.Cursor.Position)
	return relation == timeline.Prefix && timeline.Agreeing(origin(s), h.Origin()) != timeline.Differ
}
