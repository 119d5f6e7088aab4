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

// Judge says who of those in groups is wrong, each group holding the same and each other than the others. A node is
// wrong if
//
//   - more than half of its region's nodes that vote hold one other thing, and of no other region the majority of those
//     that were compared holds what this node does, or
//   - a sibling holds one other thing, the majority of the nodes of another region that were compared holds that as
//     well, and nobody outside of the region holds what this node does.
//
// A region that differs as a whole from others is not wrong by that: nothing would be left of it that could lead, and
// there is nobody in it to mend from. Where those that are not wrong do not hold the same they are unsure, but for a
// majority of all that were compared.
func Judge(groups []verify.Group, members []Member) Verdict {
	j := judge{of: map[string]int{}, members: members}
	for i, g := range groups {
		for _, name := range g.Nodes {
			j.of[name] = i
		}
	}
	var v Verdict
	held := map[int][]string{} // by those who are not wrong
	for i, g := range groups {
		for _, name := range g.Nodes {
			if j.wrong(name) {
				v.Wrong = append(v.Wrong, name)
			} else {
				held[i] = append(held[i], name)
			}
		}
	}
	for _, names := range held {
		if len(held) > 1 && 2*len(names) <= len(j.of) {
			v.Unsure = append(v.Unsure, names...)
		}
	}
	slices.Sort(v.Wrong)
	slices.Sort(v.Unsure)
	return v
}

type judge struct {
	of      map[string]int // group by node
	members []Member
}

func (j *judge) wrong(name string) bool {
	region := j.regionOf(name)
	own := j.of[name]
	voters, others := 0, map[int]int{}
	for _, m := range j.members {
		if m.Region != region || !m.Voter {
			continue
		}
		voters++
		if g, compared := j.of[m.Name]; compared && g != own {
			others[g]++
		}
	}
	for g, n := range others {
		if 2*n > voters && !j.backed(own, region) || j.backed(g, region) && !j.heldOutside(own, region) {
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
