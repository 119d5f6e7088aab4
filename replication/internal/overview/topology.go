package overview

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Known is what a node knows of which regions there are.
type Known struct {
	Others map[string][]string // the other regions, with where they are said to be
	Roster *timeline.Roster    // which says so; nil: it is the node's configuration
	// Strays are regions of the configuration that the roster does not have.
	Strays []string
	// Former are regions that were removed, as far as the node still asks them.
	Former map[string]fleet.Region
}

// describe fills in how the regions are tied together, by what their nodes said. It is pure.
func (k *Known) describe(out *contract.FleetStatus, regions map[string]*fleet.Region) {
	from := contract.FromConfiguration
	if k.Roster != nil {
		from = contract.FromRoster
		out.Roster = new(k.Roster.Mark())
	}
	leader := leaderOf(regions[out.Primary])
	for i := range out.Regions {
		r := &out.Regions[i]
		r.KnownFrom, r.Addrs = from, slices.Clone(k.Others[r.Name])
		if h := k.Roster.Home(r.Name); h != nil {
			r.Addrs = slices.Clone(h.Addrs)
		}
		r.Votes, r.WantedSource = votes(leader, r.Name), k.Roster.SourceOf(r.Name)
		if f := followingOf(regions[r.Name]); f != nil && r.Role != contract.RolePrimary {
			r.Source, r.Connected = f.From(), f.Connected
			if text := elsewhere(f, r, out.Primary); text != "" {
				out.Notes = append(out.Notes, text)
			}
		}
		if leader == nil || r.Name == out.Primary {
			continue
		}
		r.SlotKnown = true
		if at := slices.IndexFunc(leader.Slots, func(s timeline.Slot) bool { return s.Region == r.Name }); at >= 0 {
			r.Slot = &contract.SlotPosition{Position: leader.Slots[at].Position, Lost: leader.Slots[at].Lost}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.Former)) {
		if l := k.Former[name].Representative(); l != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("node %s of region %s answers, which was removed: it claims "+
				"epoch %d of %s; unless it is about to end, stop it", l.Node, name, l.Claim.Epoch, l.Claim.Primary))
		}
	}
	for _, name := range k.Strays {
		out.Notes = append(out.Notes, fmt.Sprintf("region %s is in the configuration of %s, and not one of the fleet "+
			"(%s): take it out of the configuration, or add it: mimir region add %s --peers ADDR[,ADDR]", name,
			out.Asked, strings.Join(names(k.Roster), ", "), name))
	}
}

// elsewhere says that a region follows another one than it is to, "" if it does not.
func elsewhere(f *fleet.Following, r *contract.RegionStatus, primary string) string {
	switch w := r.WantedSource; {
	case w != "" && w != primary && w != r.Source:
		return fmt.Sprintf("region %s is to follow %s, and follows %s: it goes there by itself once %s has been well "+
			"for a while", r.Name, w, r.Source, w)
	case (w == "" || w == primary) && f.By != "" && f.By != primary && f.Source == primary:
		return fmt.Sprintf("region %s follows %s in the place of %s, which it did not hear lately, and goes back by "+
			"itself once it has for a while; or which has no more the log that it lacked", r.Name, f.By, primary)
	default:
		return ""
	}
}

func names(r *timeline.Roster) (list []string) {
	for i := range r.Regions {
		list = append(list, r.Regions[i].Name)
	}
	return list
}

// leaderOf returns the report of the leader of a region, nil if it did not answer, or hears no majority.
func leaderOf(r *fleet.Region) *fleet.Heard {
	if r == nil {
		return nil
	}
	if l := r.Leader(); l != nil && !l.CutOff() {
		return l
	}
	return nil
}

func followingOf(r *fleet.Region) *fleet.Following {
	if l := leaderOf(r); l != nil {
		return l.Following
	}
	return nil
}

// votes tells whether a region votes about the primary, by the word of the leader of that.
func votes(primary *fleet.Heard, region string) contract.Vote {
	switch {
	case primary == nil || primary.Voting == nil:
		return contract.VoteUnknown
	case primary.Voting.Charter.Number == 0:
		return contract.VoteNone
	case slices.Contains(primary.Voting.Voters, region):
		return contract.VoteYes
	default:
		return contract.VoteNo
	}
}
