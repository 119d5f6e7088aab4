package succession

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Trouble is why a region that is led does not act, for people.
type Trouble struct {
	What   string // it waits for; the same as long as it waits for that
	Detail string // what was heard last, and what an operator can do
}

// Trouble returns what keeps this leader's region from work until somebody else does something, nil if nothing is
// known to. An open handoff is told by Handing.
func (m *Machine) Trouble() *Trouble {
	s := m.view.State
	if m.term == 0 || s == nil {
		return nil
	}
	claim := m.claim()
	switch {
	case claim.Epoch == 0 && m.founder && len(m.view.Fleet.Silent) > 0:
		return alone(m.region, m.view.Fleet.Silent)
	case unfounded(m, claim):
		return fleetless(m.view)
	case claim.Primary == m.region && timeline.Latest(s.Reigns) != claim && !slices.Contains(s.Reigns, claim):
		return forgotten(m.view, claim)
	case s.Diverged != nil && m.copied == nil && holds(m.view, claim) == "":
		return stranded(m.view, claim)
	default:
		return nil
	}
}

// alone tells for whom the founder of a fleet waits.
func alone(region string, silent map[string]string) *Trouble {
	names := slices.Sorted(maps.Keys(silent))
	var reasons []string
	for _, name := range names {
		reasons = append(reasons, name+": "+silent[name])
	}
	return &Trouble{
		What: fmt.Sprintf("region %s has no history, and begins one when %s has said that it has none either",
			region, strings.Join(names, ", ")),
		Detail: fmt.Sprintf("%s; to begin without it, though whatever it has becomes a tail: mimir failover --to %s "+
			"--force", strings.Join(reasons, "; "), region),
	}
}

// forgotten tells that the reign which the fleet follows is lost where it was, if it is: whom another region follows
// has it, and the region of that name that this node knows is another.
func forgotten(v View, claim timeline.Reign) *Trouble {
	for _, name := range slices.Sorted(maps.Keys(v.Fleet.Leaders)) {
		if v.Fleet.Leaders[name].Follows != claim.Primary {
			continue
		}
		return &Trouble{
			What: fmt.Sprintf("region %s began epoch %d, which no node of it has that this one knows", claim.Primary,
				claim.Epoch),
			Detail: fmt.Sprintf("region %s follows others of that name, which may take writes: ask %s for the state "+
				"of the fleet, and if that calls this node WRONG, do what it says", name, name),
		}
	}
	t := &Trouble{
		What: fmt.Sprintf("region %s began epoch %d and has forgotten it, so nobody takes writes", claim.Primary,
			claim.Epoch),
		Detail: "no region with that epoch answers; start one, or fail over to the region that is furthest: mimir " +
			"failover --to REGION --force",
	}
	if holder := holds(v, claim); holder != "" {
		t.Detail = fmt.Sprintf("region %s has it up to position %d: mimir failover --to %s --force", holder,
			v.Fleet.Leaders[holder].Cursor.Position, holder)
	}
	return t
}

// stranded tells that nobody who answers has the history for which a region gave up its own.
func stranded(v View, claim timeline.Reign) *Trouble {
	s := v.State
	reason := v.Fleet.Silent[claim.Primary]
	if reason == "" {
		reason = "it does not say that it has it"
	}
	return &Trouble{
		What: fmt.Sprintf("region %s gave up what it has behind position %d, saved it as a tail, and waits for the "+
			"history of epoch %d of %s", s.Region, s.Diverged.Fork, claim.Epoch, claim.Primary),
		Detail: fmt.Sprintf("%s: %s; if no region with that epoch comes back, region %s can go on with what it gave "+
			"up, and what %s took is lost: mimir failover --to %s --force", claim.Primary, reason, s.Region,
			claim.Primary, s.Region),
	}
}
