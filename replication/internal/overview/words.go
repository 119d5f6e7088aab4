package overview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// silence says what is known of a region of which no node answers.
func silence(r *fleet.Region, last *contract.LastHeard) string {
	text := "no node answers"
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	if last == nil {
		return text + "; it was never heard since the asked node started"
	}
	return fmt.Sprintf("%s; last heard %.0f s ago, by %s: %s", text, last.AgeSeconds, last.Node, place(last))
}

// place says where a region was.
func place(l *contract.LastHeard) string {
	return fmt.Sprintf("%s of epoch %d at position %d", l.Role, l.Epoch, l.Position)
}

// problems says what is wrong with a region of which somebody answered, "" if nothing is known to be.
func problems(s *contract.RegionStatus, r *fleet.Region, best *fleet.Heard) string {
	var list []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(s.Leader == "", "no leader answers; this is what %s has, which %s", s.By, lastWord(best))
	add(s.Leader != "" && !confirmed(r), "no majority of its nodes confirms the leader %s", s.Leader)
	for _, n := range s.Nodes {
		if h := heard(r, n.ID); h != nil {
			add(h.CutOff() && (h != best || h.Leader), "%s %s", h.Node, unheard(h, ""))
			add(h.DiskFullSeconds > 0, "the disk of %s is full: what it has to write has found no room for %.0f s",
				h.Node, h.DiskFullSeconds)
			add(h.DiskStalledSeconds > 0 && h.DiskFullSeconds == 0,
				"the disk of %s has not finished a write for %.0f s", h.Node, h.DiskStalledSeconds)
			add(h.Awaits != "", "%s applies nothing: it %s", h.Node, h.Awaits)
			add(h.Kept != "", "%s says: %s", h.Node, h.Kept)
		}
	}
	add(s.Role == contract.RoleDiverged && best.Problem == "", "history diverged; rejoining")
	add(best.Problem != "", "%s", best.Problem)
	list = append(list, otherLives(r)...)
	add(len(s.Missing) > 0, "nodes missing: %s", strings.Join(s.Missing, ", "))
	return strings.Join(list, "; ")
}

// places says which places are held for nodes that did not come yet. They are nothing wrong: they do not vote.
func places(regions []contract.RegionStatus) (list []string) {
	for _, r := range regions {
		for _, n := range r.Nodes {
			if n.Expected {
				list = append(list, fmt.Sprintf("region %s: a place is held for %s, where no node came yet", r.Name,
					n.PeerAddr))
			}
		}
	}
	return list
}

// lastWord says when a node that is no leader heard one, "" if it is too old to say.
func lastWord(h *fleet.Heard) string {
	switch {
	case h.Led == nil:
		return "may be behind"
	case h.LeaderAgeSeconds == nil:
		return "never heard one since it started, and may be behind"
	default:
		return fmt.Sprintf("heard one %.1f s ago, and may be behind", *h.LeaderAgeSeconds)
	}
}

// unheard says of a node that is cut off for how long it is; of is behind whom it has not heard.
func unheard(h *fleet.Heard, of string) string {
	whom := "leader" + of
	if h.Leader {
		whom = "majority" + of
	}
	if h.LeaderAgeSeconds == nil {
		return "has heard no " + whom + " since it started"
	}
	return fmt.Sprintf("has heard no %s for %.0f s", whom, *h.LeaderAgeSeconds)
}

// warnOfAsked warns if who speaks for the region of the asked node is cut off: then the picture is what that node knew;
// and if the asked node is of another life of its region.
func warnOfAsked(f *contract.FleetStatus, regions map[string]*fleet.Region) {
	for _, r := range regions {
		if slices.ContainsFunc(r.Strange, func(h fleet.Heard) bool { return h.Node == f.Asked }) {
			f.Warnings = append(f.Warnings, fmt.Sprintf("%s, which was asked, is of another life of region %s than "+
				"those that speak for it: ask another node", f.Asked, r.Name))
		}
		i := slices.IndexFunc(r.Nodes, func(h fleet.Heard) bool { return h.Node == f.Asked })
		if best := r.Representative(); i >= 0 && best.CutOff() && r.Nodes[i].CutOff() {
			f.Warnings = append(f.Warnings, fmt.Sprintf("%s, which was asked, %s: what it says of that and of who is "+
				"primary may be old; ask another node too", f.Asked, unheard(&r.Nodes[i], " of region "+r.Name)))
		}
	}
}

// votersOf returns who votes, by the charter of the primary region; nil if nobody does.
func votersOf(r *fleet.Region) []string {
	if r == nil || r.Representative() == nil || r.Representative().Voting == nil {
		return nil
	}
	return r.Representative().Voting.Voters
}

// warnings says what is wrong with the fleet, the worst first. One of its voters takes no writes beside the primary.
func warnings(
	f *contract.FleetStatus, claim timeline.Reign, reigns []timeline.Reign, voters []string,
) (list []string) {
	var write, count []string
	for i := range f.Regions {
		r := &f.Regions[i]
		text := fmt.Sprintf("%s (epoch %d, leader %s)", r.Name, r.Epoch, r.Leader)
		switch {
		case r.TakesWrites:
			write = append(write, text)
		case r.Role == contract.RolePrimary && !r.Sealed && r.Leader != "":
			count = append(count, text)
		case !r.Heard && r.Name != claim.Primary && mayWrite(r, claim, reigns) && !slices.Contains(voters, r.Name):
			list = append(list, fmt.Sprintf("epoch %d of %s was begun without %s, which does not answer: if it runs, "+
				"it may take writes until it hears of that", claim.Epoch, claim.Primary, r.Name))
		}
	}
	if len(write) > 1 {
		list = append([]string{fmt.Sprintf("TWO PRIMARIES: %s both take writes; what those of lower epochs "+
			"acknowledge will be cut off as their tail: keep clients away from them, and let the regions reach each "+
			"other", strings.Join(write, " and "))}, list...)
	}
	if len(write) == 1 && len(count) > 0 {
		list = append(list, fmt.Sprintf("%s still counts itself primary beside %s, and takes no writes",
			strings.Join(count, " and "), write[0]))
	}
	return list
}

// mayWrite reports whether a region that does not answer may be primary of an epoch before the claim, as far as is
// known: it was when it was last heard, or it never was heard, and no handoff ended that. The reign that followed its
// own says so; of a region that has none among those of the claim's history, when it never was heard, the claim itself.
func mayWrite(r *contract.RegionStatus, claim timeline.Reign, reigns []timeline.Reign) bool {
	own := -1
	for i, reign := range reigns {
		if reign.Primary == r.Name && (r.LastHeard == nil || reign.Epoch == r.LastHeard.Epoch) {
			own = i
		}
	}
	switch {
	case r.LastHeard != nil && (r.LastHeard.Role != contract.RolePrimary || r.LastHeard.Epoch > claim.Epoch):
		return false
	case own >= 0 && own+1 < len(reigns):
		return reigns[own+1].Lossy
	default:
		return r.LastHeard != nil || claim.Lossy
	}
}

// historyOf returns the reigns up to the claim, nil if nobody who answers has that.
func historyOf(claim timeline.Reign, regions map[string]*fleet.Region) []timeline.Reign {
	for _, r := range regions {
		for i := range r.Nodes {
			if known := r.Nodes[i].Reigns; timeline.Latest(known) == claim {
				return known
			}
		}
	}
	return nil
}
