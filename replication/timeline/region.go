package timeline

import (
	"fmt"
	"slices"
)

// Rebase says that the entry at index of the region's log installed the state as it is now, which is another region's:
// what stands in the log before it is not this history's. A later entry can only move the base forward.
func (m *Machine) Rebase(index uint64) error {
	s := m.state
	if index <= s.Base.Index {
		return fmt.Errorf("%w: state installed by entry %d, after one of entry %d", ErrFormat, index, s.Base.Index)
	}
	s.Base = Base{Index: index, Position: s.Cursor.Position}
	if g := s.GivenUp; g != nil && g.Index == 0 {
		s.GivenUp = &GivenUp{Index: index, Fork: g.Fork}
	}
	m.changed()
	return nil
}

// Membership is what a change of the Raft configuration makes of a region's nodes.
type Membership struct {
	Conf     []byte   // the whole configuration, opaque here
	Removed  []uint64 // Raft identities of nodes that left
	Added    *Member  // description of a node that joined or changed, nil if there is none
	Learners []uint64 // Raft identities of the nodes that do not vote now
}

// MaxRemoved is how many of those who left a region it remembers.
const MaxRemoved = 128

// Configure brings the region's list of nodes in line with its Raft configuration: nodes that left are members no more,
// and remembered as such; every other one is a learner exactly if it does not vote. A place that was held for a node is
// not remembered: nobody can come back under its identity, and there may be many.
func (m *Machine) Configure(c Membership) {
	s := m.state
	s.Conf = slices.Clone(c.Conf)
	places := map[uint64]bool{}
	s.Members = slices.DeleteFunc(s.Members, func(o Member) bool {
		places[o.ID] = o.isPlace()
		return slices.Contains(c.Removed, o.ID)
	})
	for _, id := range c.Removed {
		if places[id] {
			continue
		}
		s.Removed = append(slices.DeleteFunc(s.Removed, func(o uint64) bool { return o == id }), id)
	}
	s.Removed = s.Removed[max(0, len(s.Removed)-MaxRemoved):]
	if c.Added != nil {
		s.setMember(*c.Added)
	}
	for i := range s.Members {
		s.Members[i].Learner = slices.Contains(c.Learners, s.Members[i].ID)
	}
	m.changed()
}

// setMember adds or replaces a member.
func (s *State) setMember(n Member) {
	n.ClientURLs = slices.Clone(n.ClientURLs)
	s.Removed = slices.DeleteFunc(s.Removed, func(o uint64) bool { return o == n.ID }) // S6
	if i := slices.IndexFunc(s.Members, func(o Member) bool { return o.ID == n.ID }); i >= 0 {
		s.Members[i] = n
		return
	}
	s.Members = append(s.Members, n)
	slices.SortFunc(s.Members, func(a, b Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}
