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
	// Epoch is that of the primary which wrote it, By is that primary, and Number counts the orders: see
	// RosterMark.Before.
	Epoch  Epoch  `json:"epoch"`
	Number uint64 `json:"number"`
	By     string `json:"by"`
	// Ranked says that it is judged by the reigns of those who write, as claims are. Else it is of nodes of
	// LevelRoster, which apply it by their rules, and it is older than every ranked one of its epoch.
	Ranked  bool   `json:"ranked,omitempty"`
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
	// Since is the Number of the roster with which the region came, by order; zero: it was there before the first one.
	// One that was removed and came back has another.
	Since uint64 `json:"since"`
	// Came is that roster, if it is ranked.
	Came RosterMark `json:"came,omitzero"`
	// Untold says of one that was removed that it was not known to have taken a roster: its nodes, if they come back,
	// cannot know that another region of that name is not theirs.
	Untold bool `json:"untold,omitempty"`
	// Source is the region that this one is to follow while that is well, of LevelSources; "": the primary.
	Source string `json:"source,omitempty"`
}

// RosterMark names a roster.
type RosterMark struct {
	Epoch  Epoch  `json:"epoch"` // of the primary that wrote it
	Number uint64 `json:"number"`
	By     string `json:"by"` // that primary
	// Ranked says that it is ordered as claims are: by nodes of LevelRanks.
	Ranked bool `json:"ranked,omitempty"`
}

// Before reports whether m is of an older roster than o. Rosters are ordered as the claims are by which they are
// written: the higher epoch wins, and of one epoch, of which orders by force can make two primaries, the region with
// the smaller name; so who gives way goes by the roster of whom it gives way to. Of one primary the higher number wins.
// Before those of an epoch are the ones of it that are not ranked, by number, and of one number by name.
func (m RosterMark) Before(o RosterMark) bool { return m.compare(o) < 0 }

func (m RosterMark) compare(o RosterMark) int {
	switch {
	case m.Epoch != o.Epoch:
		return cmp.Compare(m.Epoch, o.Epoch)
	case m.Ranked != o.Ranked && o.Ranked:
		return -1
	case m.Ranked != o.Ranked:
		return 1
	case m.Ranked:
		return cmp.Or(strings.Compare(o.By, m.By), cmp.Compare(m.Number, o.Number))
	default:
		return cmp.Or(cmp.Compare(m.Number, o.Number), strings.Compare(m.By, o.By))
	}
}

// Level returns the earliest level of nodes that understand the roster.
func (r *Roster) Level() Level {
	if slices.ContainsFunc(r.Regions, func(h Home) bool { return h.Source != "" }) {
		return LevelSources
	}
	if r.Ranked {
		return LevelRanks
	}
	return LevelRoster
}

// ranks reports whether the region goes by a ranked roster.
func (s *State) ranks() bool { return s.Roster != nil && s.Roster.Ranked }

// Arrived compares when two regions of one name came: by the rosters with which they did, or where one of these was not
// ranked, by their numbers. It is 0 of one and the same region, and below that if o came later.
func (h *Home) Arrived(o *Home) int {
	if h.Came.Ranked && o.Came.Ranked {
		return h.Came.compare(o.Came)
	}
	return cmp.Compare(h.Since, o.Since)
}

// Limits of a roster.
const (
	MaxRegions     = MaxPlace
	MaxHomeAddrs   = 64
	MaxFormer      = 8
	MaxRegionBytes = 64 // of a name
)

// Mark returns the name of r, the zero mark if it is nil.
func (r *Roster) Mark() RosterMark {
	if r == nil {
		return RosterMark{}
	}
	return RosterMark{r.Epoch, r.Number, r.By, r.Ranked}
}

// Before reports whether r is older than o; no roster is older than any.
func (r *Roster) Before(o *Roster) bool {
	if r == nil || o == nil {
		return r == nil && o != nil
	}
	return r.Mark().Before(o.Mark())
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
	return now == nil || then != nil && then.Arrived(now) < 0
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

// Was returns a region that was removed, as it was, nil if the roster, which may be nil, does not tell.
func (r *Roster) Was(region string) *Home {
	if r == nil {
		return nil
	}
	if i := slices.IndexFunc(r.Former, func(h Home) bool { return h.Name == region }); i >= 0 {
		return &r.Former[i]
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
	return &Roster{Epoch: e, Number: r.Number + 1, By: by, Ranked: r.Ranked, Regions: slices.Clone(r.Regions),
		Former: slices.Clone(r.Former)}
}

// With returns what the primary by of the epoch e writes to have a region at addrs: one that is there keeps its place.
func (r *Roster) With(e Epoch, by, region string, addrs []string) *Roster {
	next := r.next(e, by)
	if h := next.Home(region); h != nil {
		h.Addrs = addrs
		return next
	}
	h := Home{Name: region, Addrs: addrs, Place: r.free(), Since: next.Number}
	if next.Ranked {
		h.Came = next.Mark()
	}
	next.Regions = append(next.Regions, h)
	slices.SortFunc(next.Regions, byName)
	next.Former = slices.DeleteFunc(next.Former, func(h Home) bool { return h.Name == region })
	return next
}

// free returns the lowest place that no region has, and, if there is one, none that was removed had: it may be primary
// somewhere, and number what it writes by its place.
func (r *Roster) free() uint8 {
	for _, former := range [][]Home{r.Former, nil} {
		for p := uint8(1); p < MaxPlace; p++ {
			if r.vacant(p) && !slices.ContainsFunc(former, func(h Home) bool { return h.Place == p }) {
				return p
			}
		}
	}
	return MaxPlace
}

// vacant reports whether no region has the place p.
func (r *Roster) vacant(p uint8) bool {
	return !slices.ContainsFunc(r.Regions, func(h Home) bool { return h.Place == p })
}

// Without returns what the primary by of the epoch e writes to have a region no more.
func (r *Roster) Without(e Epoch, by, region string) *Roster {
	next := r.next(e, by)
	if h := r.Home(region); h != nil {
		was := *h
		was.Source = ""
		next.Former = append(next.Former, was)
		if len(next.Former) > MaxFormer {
			oldest := max(0, slices.IndexFunc(next.Former, func(h Home) bool { return !h.Untold }))
			next.Former = slices.Delete(next.Former, oldest, oldest+1)
		}
	}
	next.Regions = slices.DeleteFunc(next.Regions, func(h Home) bool { return h.Name == region })
	for i := range next.Regions {
		if h := &next.Regions[i]; h.Source == region {
			h.Source = ""
		}
	}
	return next
}

// Stamped returns what the primary by of the epoch e writes as soon as it reigns: the same roster, ranked and in its
// epoch, so that what an earlier primary writes is older than it. It has the regions beyond, which r lacks, too:
// State.Beyond.
func (r *Roster) Stamped(e Epoch, by string, beyond []Home) *Roster {
	next := r.next(e, by)
	next.Number, next.Ranked = r.Number, true
	for _, h := range beyond {
		if next.Home(h.Name) != nil {
			continue
		}
		next.Former = slices.DeleteFunc(next.Former, func(o Home) bool { return o.Name == h.Name })
		h.Untold = false
		if h.Place == 0 || !next.vacant(h.Place) {
			h.Place = next.free()
		}
		next.Regions = append(next.Regions, h)
		slices.SortFunc(next.Regions, byName)
	}
	return next
}

// Outranked reports whether the reign claim outranks that of the primary which wrote the roster.
func (r *Roster) Outranked(claim Reign) bool {
	if !r.Ranked {
		return r.Epoch < claim.Epoch
	}
	return outranks(claim, Reign{Epoch: r.Epoch, Primary: r.By})
}

// Overtaken reports whether the reign claim outranks that by which the roster was written, which may be nil, and it
// lacks the region that began it: a primary wrote it that did not know of that reign.
func (r *Roster) Overtaken(claim Reign) bool {
	return r != nil && r.Outranked(claim) && r.Home(claim.Primary) == nil
}

// Beyond returns the regions that the roster r, which may be nil, lacks because who wrote it did not know of their
// reign, each with the last such reign that is known here, whoever reigns now: they were not removed by it. It is not
// taken any more, and where it is in force they count as ones of the fleet beside it. Of one that is not ranked nodes
// of LevelRoster look at the highest claim alone.
func (s *State) Beyond(r *Roster) (reigns []Reign) {
	claims := []Reign{s.HighestClaim()}
	if r != nil && r.Ranked {
		claims = append(slices.Clone(s.Reigns), s.Yielded)
	}
	for _, claim := range slices.Backward(claims) {
		named := func(o Reign) bool { return o.Primary == claim.Primary }
		if r.Overtaken(claim) && !slices.ContainsFunc(reigns, named) {
			reigns = append(reigns, claim)
		}
	}
	return reigns
}

// precedes reports whether a region of the roster came with a later one.
func (r *Roster) precedes(h *Home) bool {
	return r.Ranked && r.Mark().Before(h.Came) || !r.Ranked && h.Since > r.Number
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
		case h.Place == 0 || h.Place > MaxPlace || r.precedes(h):
			return fmt.Sprintf("region %s has place %d, and came with roster %d", h.Name, h.Place, h.Since)
		}
		before = h.Name
	}
	if fault := r.circular(); fault != "" {
		return fault
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
	beyond := s.Beyond(r)
	switch {
	case r == nil:
		return refusal("no roster")
	case !s.Roster.Before(r):
		return Skipped, "", nil
	case r.Fault() != "":
		return refusal("%s", r.Fault())
	case c.To == s.Region && (!s.Writable() || r.Epoch != s.Cursor.Epoch || r.By != s.Region):
		return refusal("region does not take writes in epoch %d, of which roster %d is", r.Epoch, r.Number)
	case len(beyond) > 0:
		return refusal("%s began epoch %d, and roster %d of epoch %d has it no more", beyond[0].Primary,
			beyond[0].Epoch, r.Number, r.Epoch)
	case s.Role() == Primary && r.Lacks(s.Region, s.Roster):
		return refusal("region is primary, and roster %d of epoch %d has it no more", r.Number, r.Epoch)
	}
	s.Roster = r
	s.Slots = slices.DeleteFunc(s.Slots, func(o Slot) bool { return r.Home(o.Region) == nil })
	return Applied, "", nil
}
