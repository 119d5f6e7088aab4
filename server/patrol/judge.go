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

// Judge says who of those in groups is wrong, each group holding the same and each other than the others. aside are
// those of whom that was found before. A node is wrong if
//
//   - more than half of its region's nodes that vote hold one other thing, and of no other region the majority of those
//     that were compared holds what this node does, or
//   - as many siblings that vote as hold what this node does, or more, hold one other thing, the majority of the nodes
//     of another region that were compared holds that as well, and nobody outside of the region holds what this node
//     does. Another region decides no more than that: it may have come to what it holds by a copy of a single node.
//
// Nobody of a region is wrong if less than a majority of its voters would be left that are neither wrong nor aside, and
// so a region that differs as a whole from others is not: nothing of it would be left to lead and to mend from.
// Where those that are not wrong do not hold the same they are unsure, but for a majority of all that were compared of
// whose regions nobody holds anything else.
func Judge(groups []verify.Group, members []Member, aside func(Member) bool) Verdict {
	j := judge{of: map[string]int{}, members: members}
	for i, g := range groups {
		for _, name := range g.Nodes {
			j.of[name] = i
		}
	}
	var v Verdict
	for region, wrong := range j.wrongs() {
		if j.leads(region, wrong, aside) {
			v.Wrong = append(v.Wrong, wrong...)
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
}

// wrongs returns who of each region would be wrong, whatever is left of it.
func (j *judge) wrongs() map[string][]string {
	list := map[string][]string{}
	for name := range j.of {
		if j.wrong(name) {
			region := j.regionOf(name)
			list[region] = append(list[region], name)
		}
	}
	return list
}

// leads reports whether a majority of a region's voters is neither wrong nor aside.
func (j *judge) leads(region string, wrong []string, aside func(Member) bool) bool {
	voters, fit := 0, 0
	for _, m := range j.members {
		if m.Region != region || !m.Voter {
			continue
		}
		voters++
		if !slices.Contains(wrong, m.Name) && !aside(m) {
			fit++
		}
	}
	return 2*fit > voters
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
		if g, compared := j.of[m.Name]; compared {
			held[g]++
		}
	}
	for g, n := range held {
		if g == own {
			continue
		}
		if 2*n > voters && !j.backed(own, region) ||
			n >= held[own] && j.backed(g, region) && !j.heldOutside(own, region) {
			return true
		}
	}
	return false
}

// backed reports whether the majority of the nodes of another region that were compared are of a group.
func (j *judge) backed(group int, region string) bool {
	all, those := map[string]int{}, map[string]int{}
	for _, m := range j.members {
		g, compared := j.of[m.Name]
		if !compared || m.Region == region {
			continue
		}
		if all[m.Region]++; g == group {
			those[m.Region]++
		}
	}
	for name, n := range those {
		if 2*n > all[name] {
			return true
		}
	}
	return false
}

func (j *judge) heldOutside(group int, region string) bool {
	return slices.ContainsFunc(j.members, func(m Member) bool {
		g, compared := j.of[m.Name]
		return compared && g == group && m.Region != region
	})
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
