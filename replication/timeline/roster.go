package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Roster says which regions the fleet has, and where they are reached. It is state of every region, of nodes of
// LevelRoster: the primary writes it, the others take the newest one that they hear of. Without one a region goes by
// its configuration. It is never changed in place.
type Roster struct {
	// Epoch is that of the primary which wrote it, Number counts, and By is that primary: see Before.
	Epoch   Epoch  `json:"epoch"`
	Number  uint64 `json:"number"`
	By      string `json:"by"`
	Regions []Home `json:"regions"` // by name
	// Former are those that were removed last, the last one last, at most MaxFormer, as they were: a region that was
	// cut off when it was removed may have been made primary by order before.
	Former []Home `json:"former,omitempty"`
}

// Home is one region of a fleet.
type Home struct {
	Name  string   `json:"name"`
	Addrs []string `json:"addrs"` // of some or all of its nodes; where the others are is learned from these
	// Place is that of the region in its reigns (Reign.Place): 1 to MaxPlace, and the same as long as the region is
	// there.
	Place uint8 `json:"place"`
	// Since is the Number of the roster with which the region came. One that was removed and came back has another.
	Since uint64 `json:"since"`
}

// Limits of a roster.
const (
	MaxRegions     = MaxPlace
	MaxHomeAddrs   = 64
	MaxFormer      = 8
	MaxRegionBytes = 64 // of a name
)

// Before reports whether r is older than o: of an earlier epoch, or of a lower number in it. Two primaries of one
// epoch, which only orders by force can make, are told apart by their names.
func (r *Roster) Before(o *Roster) bool {
	if r == nil || o == nil {
		return r == nil && o != nil
	}
	return cmp.Or(cmp.Compare(r.Epoch, o.Epoch), cmp.Compare(r.Number, o.Number), strings.Compare(r.By, o.By)) < 0
}

// Home returns the region of that name, nil if the roster, which may be nil, does not have it.
func (r *Roster) Home(region string) *Home {
	if r == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(r.Regions, region, func(h Home, name string) int {
		return strings.Compare(h.Name, name)
	})
	if !found {
		return nil
	}
	return &r.Regions[i]
}

// Lacks reports whether the roster is one that a region of that name is not part of any more: it was removed, and if
// another came under its name since, that is not the one of the roster known, which may be nil.
func (r *Roster) Lacks(region string, known *Roster) bool {
	if r == nil {
		return false
	}
	now, then := r.Home(region), known.Home(region)
	return now == nil || then != nil && now.Since > then.Since
}

// Others returns the regions beside one, with their addresses.
func (r *Roster) Others(region string) map[string][]string {
	list := make(map[string][]string, len(r.Regions))
	for i := range r.Regions {
		if h := &r.Regions[i]; h.Name != region {
			list[h.Name] = h.Addrs
		}
	}
	return list
}

// WasAt returns where nodes of a region were reached that was removed, nil if the roster, which may be nil, does not
// tell.
func (r *Roster) WasAt(region string) []string {
	if r == nil {
		return nil
	}
	for i := range r.Former {
		if r.Former[i].Name == region {
			return r.Former[i].Addrs
		}
	}
	return nil
}

// FirstRoster returns what a fleet without a roster goes by, as the configuration of a node of the region own has it,
// which is reached at addrs. It has no number yet.
func FirstRoster(own string, addrs []string, others map[string][]string) *Roster {
	r := &Roster{Regions: []Home{{Name: own, Addrs: addrs}}}
	for name, addrs := range others {
		r.Regions = append(r.Regions, Home{Name: name, Addrs: addrs})
	}
	slices.SortFunc(r.Regions, byName)
	for i := range r.Regions { // as regions count that have no roster
		r.Regions[i].Place = uint8(min(i+1, MaxPlace))
	}
	return r
}

func byName(a, b Home) int { return strings.Compare(a.Name, b.Name) }

// next returns a copy that the primary by of the epoch e writes.
func (r *Roster) next(e Epoch, by string) *Roster {
	return &Roster{Epoch: e, Number: r.Number + 1, By: by, Regions: slices.Clone(r.Regions),
		Former: slices.Clone(r.Former)}
}

// With returns what the primary by of the epoch e writes to have a region at addrs: one that is there keeps its place.
func (r *Roster) With(e Epoch, by, region string, addrs []string) *Roster {
	next := r.next(e, by)
	if h := next.Home(region); h != nil {
		h.Addrs = addrs
		return next
	}
	next.Regions = append(next.Regions, Home{Name: region, Addrs: addrs, Place: r.free(), Since: next.Number})
	slices.SortFunc(next.Regions, byName)
	next.Former = slices.DeleteFunc(next.Former, func(h Home) bool { return h.Name == region })
	return next
}

// free returns the lowest place that no region has.
func (r *Roster) free() uint8 {
	for p := uint8(1); p < MaxPlace; p++ {
		if !slices.ContainsFunc(r.Regions, func(h Home) bool { return h.Place == p }) {
			return p
		}
	}
	return MaxPlace
}

// Without returns what the primary by of the epoch e writes to have a region no more.
func (r *Roster) Without(e Epoch, by, region string) *Roster {
	next := r.next(e, by)
	if h := r.Home(region); h != nil {
		next.Former = append(next.Former, *h)
		next.Former = next.Former[max(0, len(next.Former)-MaxFormer):]
	}
	next.Regions = slices.DeleteFunc(next.Regions, func(h Home) bool { return h.Name == region })
	return next
}

// Overtaken reports whether the roster, which may be nil, is of a time before the reign claim, and lacks the region
// that began it: a primary wrote it that did not know of that one. It is not taken any more, and where it is in force
// that
// region counts as one of the fleet beside it.
func (r *Roster) Overtaken(claim Reign) bool {
	return r != nil && r.Epoch < claim.Epoch && r.Home(claim.Primary) == nil
}

// Fault returns what is wrong with the roster, "" if it can be kept.
func (r *Roster) Fault() string {
	before := ""
	for i := range r.Regions {
		h := &r.Regions[i]
		switch {
		case h.Name <= before:
			return fmt.Sprintf("region %q stands behind %q", h.Name, before)
		case len(h.Name) > MaxRegionBytes || strings.HasPrefix(h.Name, WitnessPrefix):
			return fmt.Sprintf("%q is no name of a region: it is longer than %d bytes, or begins with %s", h.Name,
				MaxRegionBytes, WitnessPrefix)
		case len(h.Addrs) == 0 || len(h.Addrs) > MaxHomeAddrs || slices.Contains(h.Addrs, ""):
			return fmt.Sprintf("region %s has the addresses %q, 1 to %d are possible", h.Name, h.Addrs, MaxHomeAddrs)
		case h.Place == 0 || h.Place > MaxPlace || h.Since > r.Number:
			return fmt.Sprintf("region %s has place %d, and came with roster %d", h.Name, h.Place, h.Since)
		}
		before = h.Name
	}
	for i := range r.Former {
		if h := &r.Former[i]; r.Home(h.Name) != nil || len(h.Addrs) > MaxHomeAddrs {
			return fmt.Sprintf("region %s was removed, and is in it or has more than %d addresses", h.Name,
				MaxHomeAddrs)
		}
	}
	switch {
	case len(r.Former) > MaxFormer:
		return fmt.Sprintf("it has %d regions that were removed, at most %d are possible", len(r.Former), MaxFormer)
	case r.Epoch == 0 || r.Number == 0:
		return fmt.Sprintf("it has number %d of epoch %d", r.Number, r.Epoch)
	case r.Home(r.By) == nil:
		return fmt.Sprintf("it is of %q, which is not in it", r.By)
	case len(r.Regions) > MaxRegions:
		return fmt.Sprintf("it has %d regions, at most %d are possible", len(r.Regions), MaxRegions)
	}
	return ""
}

// roster takes a newer roster: the region's own one as primary, for which To is the region, or one that it heard of.
// What is kept for regions that are gone goes with them.
func (m *Machine) roster(c *Control) (Outcome, string, error) {
	s, r := m.state, c.Roster
	switch {
	case r == nil:
		return refusal("no roster")
	case !s.Roster.Before(r):
		return Skipped, "", nil
	case r.Fault() != "":
		return refusal("%s", r.Fault())
	case c.To == s.Region && (!s.Writable() || r.Epoch != s.Cursor.Epoch || r.By != s.Region):
		return refusal("region does not take writes in epoch %d, of which roster %d is", r.Epoch, r.Number)
	case r.Overtaken(s.HighestClaim()):
		return refusal("%s began epoch %d, and roster %d of epoch %d has it no more", s.HighestClaim().Primary,
			s.HighestClaim().Epoch, r.Number, r.Epoch)
	case s.Role() == Primary && r.Lacks(s.Region, s.Roster):
		return refusal("region is primary, and roster %d of epoch %d has it no more", r.Number, r.Epoch)
	}
	s.Roster = r
	s.Slots = slices.DeleteFunc(s.Slots, func(o Slot) bool { return r.Home(o.Region) == nil })
	return Applied, "", nil
}
