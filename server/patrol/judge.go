package patrol

import (
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/server/verify"
)

// Member is a node of the fleet.
type Member struct {
	Name, Region string
	Addr         string // of it as a peer
	ID           uint64
	Voter        bool
}

// Verdict says who differs.
type Verdict struct {
	// Wrong are nodes that hold something else than their region does.
	Wrong []string `json:"wrong,omitempty"`
	// Unsure are nodes that hold different things without anything to say who of them is right.
	Unsure []string `json:"unsure,omitempty"`
}

// Judge says who of those in groups is wrong, each group holding the same and each other than the others. unheard are
// the regions of which no node is known. A node is wrong if more than half of its region's nodes that vote hold one
// other thing, and of no other region more than half of the nodes hold what this node does: so a region keeps a
// majority to lead and to mend from. Another region only keeps a node from being wrong: it may have come to what it
// holds by a copy of a single one.
//
// That has to be so whatever those hold that were not compared: nobody looks at a verdict again when they come back.
//
// Where those that are not wrong do not hold the same they are unsure, but for a majority of all that were compared of
// whose regions nobody holds anything else.
func Judge(groups []verify.Group, members []Member, unheard []string) Verdict {
	j := judge{of: map[string]int{}, members: members, unheard: len(unheard) > 0}
	for i, g := range groups {
		for _, name := range g.Nodes {
			j.of[name] = i
		}
	}
	var v Verdict
	for name := range j.of {
		if j.wrong(name) {
			v.Wrong = append(v.Wrong, name)
		}
	}
	v.Unsure = j.unsure(v.Wrong)
	slices.Sort(v.Wrong)
	slices.Sort(v.Unsure)
	return v
}

type judge struct {
	of      map[string]int // group by node
	members []Member
	unheard bool // there are others
}

// unsure returns those that hold different things, without those that are wrong.
func (j *judge) unsure(wrong []string) (list []string) {
	held, regions := map[int][]string{}, map[string]map[int]bool{}
	for name, g := range j.of {
		if slices.Contains(wrong, name) {
			continue
		}
		held[g] = append(held[g], name)
		region := j.regionOf(name)
		if regions[region] == nil {
			regions[region] = map[int]bool{}
		}
		regions[region][g] = true
	}
	for _, names := range held {
		split := slices.ContainsFunc(names, func(name string) bool { return len(regions[j.regionOf(name)]) > 1 })
		if len(held) > 1 && (split || 2*len(names) <= len(j.of)) {
			list = append(list, names...)
		}
	}
	return list
}

func (j *judge) wrong(name string) bool {
	region := j.regionOf(name)
	own := j.of[name]
	voters, held := 0, map[int]int{} // by how many of them
	for _, m := range j.members {
		if m.Region != region || !m.Voter {
			continue
		}
		voters++
		if g, compared := j.of[m.Name]; compared && g != own {
			held[g]++
		}
	}
	for _, n := range held {
		if 2*n > voters {
			return !j.mayBeBacked(own, region)
		}
	}
	return false
}

// mayBeBacked reports whether more than half of the nodes of another region may be of a group.
func (j *judge) mayBeBacked(group int, region string) bool {
	all, those := map[string]int{}, map[string]int{}
	for _, m := range j.members {
		if m.Region == region {
			continue
		}
		all[m.Region]++
		if g, compared := j.of[m.Name]; !compared || g == group {
			those[m.Region]++
		}
	}
	for name, n := range those {
		if 2*n > all[name] {
			return true
		}
	}
	return j.unheard
}

func (j *judge) regionOf(name string) string {
	for _, m := range j.members {
		if m.Name == name {
			return m.Region
		}
	}
	return ""
}

// text says it in one line.
func (v *Verdict) text() string {
	var list []string
	if len(v.Wrong) > 0 {
		list = append(list, strings.Join(v.Wrong, ", ")+": something else than their region")
	}
	if len(v.Unsure) > 0 {
		list = append(list, strings.Join(v.Unsure, ", ")+": something else than others, and it is unknown who is right")
	}
	return strings.Join(list, "; ")
}
