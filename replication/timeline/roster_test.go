package timeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rosterOf is a ranked roster of these regions, in order, written by us.
func rosterOf(e Epoch, number uint64, names ...string) *Roster {
	r := &Roster{Epoch: e, Number: number, By: "us", Ranked: true}
	for i, name := range names {
		r.Regions = append(r.Regions, Home{Name: name, Addrs: []string{name + "-1"}, Place: uint8(i + 1)})
	}
	return r
}

func (r *Roster) names() (list []string) {
	for _, h := range r.Regions {
		list = append(list, h.Name)
	}
	return list
}

func TestRegionsComeAndGo(t *testing.T) {
	first := FirstRoster("us", []string{"us-1"}, map[string][]string{"eu": {"eu-1"}})
	first.Ranked = true
	one := first.With(4, "us", "ap", []string{"ap-1"})
	if one.Number != 1 || one.Epoch != 4 || one.By != "us" || one.Fault() != "" ||
		!slices.Equal(one.names(), []string{"ap", "eu", "us"}) {
		t.Fatalf("%+v: %s", one, one.Fault())
	}
	// A region keeps its place whoever comes, since two reigns may never number alike.
	if eu, us, ap := one.Home("eu"), one.Home("us"), one.Home("ap"); eu.Place != 1 || us.Place != 2 || ap.Place != 3 ||
		ap.Came != one.Mark() || ap.Since != 1 || eu.Since != 0 {
		t.Errorf("%+v", one.Regions)
	}
	two := one.Without(5, "eu", "ap")
	if two.Home("ap") != nil || two.Home("eu").Place != 1 || !one.Before(two) || two.Before(one) || two.Before(two) {
		t.Errorf("%+v", two)
	}
	if len(one.Former) != 0 || two.Was("ap").Addrs[0] != "ap-1" || two.Was("eu") != nil {
		t.Errorf("formerly %+v, then %+v", one.Former, two.Former)
	}
	three := two.With(5, "eu", "ap", []string{"ap-9"}).With(5, "eu", "eu", []string{"eu-9"})
	if three.Number != 4 || three.Home("ap").Came != (RosterMark{5, 3, "eu", true}) || three.Home("eu").Since != 0 ||
		three.Home("eu").Addrs[0] != "eu-9" || two.Home("eu").Addrs[0] != "eu-1" {
		t.Errorf("%+v, before %+v", three, two)
	}
	for _, c := range []struct {
		now, known *Roster
		region     string
		lacks      bool
	}{
		{nil, nil, "ap", false}, {one, nil, "ap", false}, {two, nil, "ap", true}, {two, one, "ap", true},
		{three, one, "ap", true}, // another region of that name
		{three, two, "ap", false}, {three, nil, "ap", false}, {three, one, "eu", false},
	} {
		if got := c.now.Lacks(c.region, c.known); got != c.lacks {
			t.Errorf("%+v lacks %s, of which %+v is known: %v", c.now, c.region, c.known, got)
		}
	}
	if len(three.Former) != 0 || three.Fault() != "" {
		t.Errorf("who is there again was there formerly: %+v, %s", three, three.Fault())
	}
	if o := three.Others("us"); len(o) != 2 || o["ap"][0] != "ap-9" {
		t.Errorf("others %v", o)
	}
}

func TestWhichRosterIsNewer(t *testing.T) {
	a, b := rosterOf(2, 3, "eu", "us"), rosterOf(2, 3, "eu", "us")
	b.By = "eu"
	c, d, e := rosterOf(2, 9, "eu", "us"), rosterOf(2, 8, "eu", "us"), rosterOf(2, 9, "eu", "us")
	c.Ranked, d.Ranked, e.Ranked, e.By = false, false, false, "eu"
	for _, c := range []struct {
		older, newer *Roster
	}{
		{nil, a}, {rosterOf(1, 9, "us"), a}, {rosterOf(2, 2, "us"), a},
		{a, b}, {rosterOf(2, 9, "us"), b}, // of two primaries of one epoch, the one that the other gives way to
		{c, a}, {d, c}, {d, rosterOf(2, 1, "us")}, {e, c}, // of nodes of the version before
	} {
		if !c.older.Before(c.newer) || c.newer.Before(c.older) {
			t.Errorf("%+v is not before %+v", c.older, c.newer)
		}
	}
}

func TestARosterThatCannotBeKept(t *testing.T) {
	for want, change := range map[string]func(r *Roster){
		"":                  func(*Roster) {},
		"stands behind":     func(r *Roster) { r.Regions[0].Name = "zz" },
		"no name":           func(r *Roster) { r.Regions[1].Name = WitnessPrefix + "w" },
		"longer than":       func(r *Roster) { r.Regions[1].Name = strings.Repeat("z", MaxRegionBytes+1) },
		"has the addresses": func(r *Roster) { r.Regions[0].Addrs = nil },
		"has place 0":       func(r *Roster) { r.Regions[0].Place = 0 },
		"came with roster 9": func(r *Roster) {
			r.Regions[0].Since, r.Regions[0].Came = 9, RosterMark{2, 9, "us", true}
		},
		"and is in it":       func(r *Roster) { r.Former = r.Regions[:1] },
		"at most 8 are":      func(r *Roster) { r.Former = many(9) },
		"number 0":           func(r *Roster) { r.Number = 0 },
		"which is not in it": func(r *Roster) { r.By = "ap" },
		"at most 64 are":     func(r *Roster) { r.Regions, r.By = many(65), "r00" },
	} {
		r := rosterOf(2, 3, "eu", "us")
		change(r)
		if got := r.Fault(); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	full := (&Roster{Number: 1, Ranked: true, Regions: many(64)}).With(2, "r00", "z", []string{"z"})
	if full.Home("z").Place != MaxPlace || full.Fault() == "" {
		t.Errorf("a region too many has place %d: %q", full.Home("z").Place, full.Fault())
	}
}

// TestARosterIsWrittenAnew in each reign, with whom an earlier primary removed that did not know of theirs.
func TestARosterIsWrittenAnew(t *testing.T) {
	first := rosterOf(1, 4, "ap", "eu", "us")
	cut := first.Without(1, "us", "eu")
	s := State{Reigns: []Reign{{Epoch: 1, Primary: "us"}, {Epoch: 2, Primary: "eu"}, {Epoch: 3, Primary: "us"}}}
	beyond := s.Beyond(cut)
	if len(beyond) != 1 || beyond[0] != s.Reigns[1] || s.Beyond(first) != nil || s.Beyond(nil) != nil {
		t.Fatalf("beyond %+v", beyond)
	}
	if s.Yielded = (Reign{Epoch: 4, Primary: "eu"}); len(s.Beyond(cut)) != 1 || s.Beyond(cut)[0].Epoch != 4 {
		t.Errorf("the last reign of eu is not the one: %+v", s.Beyond(cut))
	}
	again := cut.Stamped(3, "us", []Home{*cut.Was("eu")})
	if again.Mark() != (RosterMark{3, 5, "us", true}) || again.Fault() != "" || len(again.Former) != 0 ||
		len(cut.Former) != 1 || !slices.Equal(again.names(), []string{"ap", "eu", "us"}) ||
		again.Home("eu").Place != 2 || s.Beyond(again) != nil && s.Yielded.Epoch < 4 {
		t.Errorf("%+v, %s", again, again.Fault())
	}
	// The place of who was removed is taken last, and whoever comes back without one has a free one.
	if p := cut.With(1, "us", "sa", []string{"sa"}).Home("sa").Place; p != 4 {
		t.Errorf("the place of a region that was removed goes to another at once: %d", p)
	}
	crowded := cut.Stamped(3, "us", []Home{{Name: "eu", Addrs: []string{"eu"}}, {Name: "na", Place: 1,
		Addrs: []string{"na"}}})
	if eu, na := crowded.Home("eu").Place, crowded.Home("na").Place; eu != 2 || na != 4 {
		t.Errorf("places %d and %d", eu, na)
	}
}

// TestNobodySealsForWhoIsNotThere, nor before the roster is that of the reign: whoever begins writes it anew.
func TestNobodySealsForWhoIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		r    *Roster
		want Outcome
	}{
		"no roster":         {nil, Applied},
		"it is there":       {rosterOf(2, 3, "eu", "us"), Applied},
		"it was removed":    {rosterOf(2, 3, "ap", "us"), Refused},
		"of a reign before": {rosterOf(1, 3, "eu", "us"), Refused},
	} {
		m := NewMachine(&State{Region: "us", Cursor: Cursor{Epoch: 2, Position: 9}, Roster: c.r,
			Reigns: []Reign{{Epoch: 2, First: 1, Primary: "us"}}})
		outcome, why, err := m.Control(&Control{Op: OpSeal, Epoch: 2, Handoff: 1, To: "eu"})
		if outcome != c.want || err != nil {
			t.Errorf("%s: %v, %q, %v", name, outcome, why, err)
		}
	}
}

// TestWhoIsForgottenFirst of those that were removed: who was told.
func TestWhoIsForgottenFirst(t *testing.T) {
	r := &Roster{Epoch: 2, Number: 1, By: "r00", Regions: many(12)}
	for i := range MaxFormer + 1 {
		name := fmt.Sprintf("r%02d", i+1)
		r = r.Without(2, "r00", name)
		r.Was(name).Untold = i == 0
	}
	if len(r.Former) != MaxFormer || r.Was("r01") == nil || r.Was("r02") != nil || r.Was("r09") == nil {
		t.Errorf("%+v", r.Former)
	}
}

func many(n int) (list []Home) {
	for i := range n {
		list = append(list, Home{Name: fmt.Sprintf("r%02d", i), Addrs: []string{"a"}, Place: uint8(min(i+1, MaxPlace))})
	}
	return list
}

// TestWhichRosterARegionTakes: a newer one, its own only while it takes writes, and none by which it is not there while
// it is primary. Slots of who is gone go.
func TestWhichRosterARegionTakes(t *testing.T) {
	reign := Reign{Epoch: 2, First: 1, Primary: "us"}
	primary := State{Region: "us", Cursor: Cursor{Epoch: 2, Position: 9}, Reigns: []Reign{reign},
		Slots: []Slot{{Region: "ap", Position: 3}, {Region: "eu", Position: 4}}}
	sealed, secondary := primary, primary
	sealed.Seal = &Seal{Epoch: 2, To: "eu", Position: 9}
	secondary.Region = "eu"
	without := rosterOf(3, 1, "eu")
	without.By = "eu"
	follows, yielded := primary, primary // eu, which began epoch 3
	follows.Region, follows.Cursor.Epoch = "ap", 3
	follows.Reigns = []Reign{reign, {Epoch: 3, First: 10, Primary: "eu"}}
	yielded.Yielded = Reign{Epoch: 3, First: 10, Primary: "eu"}
	later := follows // then us again, which began epoch 4
	later.Cursor.Epoch = 4
	later.Reigns = append(slices.Clone(follows.Reigns), Reign{Epoch: 4, First: 10, Primary: "us"})
	forced := primary // likewise, but that it never had epoch 3
	forced.Cursor.Epoch, forced.Yielded = 4, follows.Reigns[1]
	forced.Reigns = []Reign{reign, later.Reigns[2]}
	tie := rosterOf(3, 1, "ap", "us")
	tie.By = "ap"
	held := primary
	held.Roster = rosterOf(2, 3, "ap", "eu", "us")
	for name, c := range map[string]struct {
		state State
		to    string
		r     *Roster
		want  Outcome
	}{
		"the first":                                 {primary, "us", rosterOf(2, 1, "eu", "us"), Applied},
		"a newer":                                   {held, "us", rosterOf(2, 4, "eu", "us"), Applied},
		"the same":                                  {held, "us", rosterOf(2, 3, "eu", "us"), Skipped},
		"an older":                                  {held, "us", rosterOf(2, 2, "eu", "us"), Skipped},
		"none":                                      {held, "us", nil, Refused},
		"one that cannot be kept":                   {held, "us", rosterOf(2, 4, "us", "eu"), Refused},
		"its own, of another epoch":                 {primary, "us", rosterOf(3, 1, "eu", "us"), Refused},
		"its own, sealed":                           {sealed, "us", rosterOf(2, 1, "eu", "us"), Refused},
		"its own, as a secondary":                   {secondary, "eu", rosterOf(2, 1, "eu", "us"), Refused},
		"heard of, as a secondary":                  {secondary, "", rosterOf(2, 1, "eu", "us"), Applied},
		"heard of, of a later epoch":                {secondary, "", rosterOf(7, 1, "eu", "us"), Applied},
		"without the secondary":                     {secondary, "", rosterOf(2, 1, "us"), Applied},
		"without the primary, heard of":             {primary, "", without, Refused},
		"heard of, while it is the sealed":          {sealed, "", rosterOf(2, 1, "eu", "us"), Applied},
		"older than the primary, which it lacks":    {follows, "", rosterOf(2, 9, "ap", "us"), Refused},
		"older than the claim, which it lacks":      {yielded, "", rosterOf(2, 9, "ap", "us"), Refused},
		"older than the primary, which it has":      {follows, "", rosterOf(2, 9, "ap", "eu", "us"), Applied},
		"of the epoch, by who gives way in it":      {follows, "", rosterOf(3, 1, "ap", "us"), Refused},
		"of the epoch, by who wins it":              {follows, "", tie, Applied},
		"older than a reign before, which it lacks": {later, "", rosterOf(2, 9, "ap", "us"), Refused},
		"older than one that it gave way to":        {forced, "", rosterOf(3, 9, "ap", "us"), Refused},
		"of the reign after the one that it lacks":  {later, "", rosterOf(4, 9, "ap", "us"), Applied},
	} {
		m := NewMachine(&c.state)
		outcome, why, err := m.Control(&Control{Op: OpRoster, Roster: c.r, To: c.to})
		if outcome != c.want || err != nil || (why == "") == (c.want == Refused) {
			t.Errorf("%s: %v, %q, %v; want %v", name, outcome, why, err, c.want)
		}
		s := m.State()
		if c.want != Applied {
			continue
		}
		if s.Roster != c.r || len(s.Slots) > len(c.r.Regions)-1 && c.r.Home("eu") != nil || s.valid() != nil {
			t.Errorf("%s: then %+v, %v", name, s, s.valid())
		}
	}
	m := NewMachine(&held)
	for _, c := range []*Control{
		{Op: OpRoster, Roster: rosterOf(2, 4, "eu", "us"), To: "us"},
		{Op: OpSlots, Slots: []Slot{{Region: "ap", Position: 7}, {Region: "eu", Position: 7}}}, // it was on its way
	} {
		if outcome, why, err := m.Control(c); outcome != Applied || err != nil {
			t.Fatalf("%s: %v %s %v", c.Op, outcome, why, err)
		}
	}
	if s := m.State(); len(s.Slots) != 1 || s.Slots[0] != (Slot{Region: "eu", Position: 7}) || s.valid() != nil {
		t.Errorf("slots %+v", s.Slots)
	}
}

// A roster outlives that the region installs the state of another, which has none in it.
func TestARosterStaysOverAnInstall(t *testing.T) {
	s := State{Region: "eu", Roster: rosterOf(2, 3, "eu", "us")}
	m := NewMachine(&s)
	reign := Reign{Epoch: 2, First: 1, Primary: "us"}
	outcome, why, err := m.Control(&Control{Op: OpInstall, Checkpoint: "c", Origin: &Origin{
		Cursor: Cursor{Epoch: 2, Position: 9}, Reigns: []Reign{reign},
	}})
	if now := m.State(); outcome != Applied || err != nil || now.Roster != s.Roster {
		t.Errorf("%v, %s, %v, %+v", outcome, why, err, now.Roster)
	}
}

// What has a roster is not for older nodes, whatever else is said of the region.
func TestARosterIsNotForOlderNodes(t *testing.T) {
	plain, counted := &State{Region: "us"}, chartered("us")
	counted.Ballot.Charter.Hold = &Hold{Counted: true}
	for what, s := range map[string]*State{"plain": plain, "with a hold": counted} {
		s.Roster = rosterOf(2, 3, "eu", "us")
		p, err := s.EncodeRecord()
		if err != nil || p[0] != ranksVersion || s.Level() != LevelRanks {
			t.Errorf("%s: a state of version %d and level %d, %v", what, p[0], s.Level(), err)
		}
		again, err := DecodeRecord(p, s.Cursor)
		if err != nil || again.Roster.Home("eu").Addrs[0] != "eu-1" {
			t.Errorf("%s: %+v, %v", what, again, err)
		}
	}
	c := &Control{Op: OpRoster, Roster: plain.Roster, To: "us"}
	p, err := EncodeControl(c)
	if err != nil || p[0] != ranksVersion || c.Level() != LevelRanks {
		t.Errorf("a control of version %d and level %d, %v", p[0], c.Level(), err)
	}
	if again, err := DecodeControl(p); err != nil || again.Roster.Number != 3 {
		t.Errorf("%+v, %v", again, err)
	}
	damaged := *plain
	damaged.Slots = []Slot{{Region: "ap"}}
	if damaged.valid() == nil {
		t.Error("a slot of a region that the roster has not")
	}
}
