package roster

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// home is a ranked roster of eu and us, of that number.
func home(number uint64) *timeline.Roster {
	return &timeline.Roster{Epoch: 2, Number: number, By: "us", Ranked: true, Regions: []timeline.Home{
		{Name: "eu", Addrs: []string{"eu-1"}, Place: 1}, {Name: "us", Addrs: []string{"us-1"}, Place: 2},
	}}
}

func at(e timeline.Epoch, p timeline.Position) timeline.Cursor {
	return timeline.Cursor{Epoch: e, Position: p}
}

// TestWhoComesToAFleet: who has nothing, or a part of its history, and understands what it will be told.
func TestWhoComesToAFleet(t *testing.T) {
	reigns := []timeline.Reign{{Epoch: 1, First: 1, Primary: "us", Nonce: timeline.Nonce{1}},
		{Epoch: 2, First: 5, Primary: "us", Nonce: timeline.Nonce{2}}}
	s := &timeline.State{Region: "us", Reigns: reigns, Cursor: timeline.Cursor{Epoch: 2, Position: 9},
		Roster: home(3)}
	other := timeline.Reign{Epoch: 1, First: 1, Primary: "ap", Nonce: timeline.Nonce{9}}
	for name, c := range map[string]struct {
		change func(r *fleet.Report)
		says   string
		is     error
	}{
		"empty": {func(*fleet.Report) {}, "it holds nothing yet", nil},
		"a part of it": {func(r *fleet.Report) { r.Reigns, r.Cursor = reigns[:1], at(1, 3) },
			"up to position 3 of 9", nil},
		"as old as can be": {func(r *fleet.Report) { r.Roster = home(2) }, "it holds nothing yet", nil},
		"another history": {func(r *fleet.Report) { r.Reigns, r.Cursor = []timeline.Reign{other}, at(1, 3) },
			"shares what is up to 0", contract.ErrRejected},
		"further": {func(r *fleet.Report) { r.Reigns, r.Cursor = reigns, at(2, 10) },
			"holds position 10 of epoch 2", contract.ErrRejected},
		"a higher claim": {func(r *fleet.Report) { r.Claim = timeline.Reign{Epoch: 9, Primary: "ap"} },
			"with epoch 9 of ap", contract.ErrRejected},
		"primary":  {func(r *fleet.Report) { r.Role = timeline.Primary }, "a history of its own", contract.ErrRejected},
		"diverged": {func(r *fleet.Report) { r.Diverged = true }, "a history of its own", contract.ErrRejected},
		"older": {func(r *fleet.Report) { r.Level = timeline.LevelRanks - 1 },
			"upgrade it first", contract.ErrNotReady},
		"with a roster that was lost here": {func(r *fleet.Report) {
			r.Reigns, r.Cursor, r.Roster = reigns[:1], at(1, 3), home(5).With(2, "us", "ap", []string{"ap-1"})
		}, "up to position 3 of 9", nil},
		"removed": {func(r *fleet.Report) {
			r.Reigns, r.Cursor, r.Roster = reigns[:1], at(1, 3), home(1).With(2, "us", "sa", []string{"sa-1"})
			r.Region = "sa"
		}, "was removed since roster 2 of epoch 2", contract.ErrRejected},
		"ahead": {func(r *fleet.Report) { r.Roster = home(7).With(4, "us", "ap", []string{"ap-1"}) },
			"newer than that of this fleet", contract.ErrRejected},
	} {
		report := fleet.Report{Region: "ap", Node: "ap-1", ID: 1, Leader: true, Level: timeline.LevelNow,
			Role: timeline.Secondary}
		c.change(&report)
		r := &fleet.Region{Name: report.Region, Level: report.Level, Nodes: []fleet.Heard{{Report: report}}}
		done := &Change{}
		base := home(4).With(2, "us", "sa", []string{"sa-1"}).Without(2, "us", "sa")
		next := base.With(3, "us", r.Name, []string{"ap-1"})
		readmit(base, next, r)
		err := judge(done, r, s, next)
		said := strings.Join(done.Steps, "; ")
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, c.says) || (err == nil) != (c.is == nil) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %q, %v; want %q, %v", name, said, err, c.says, c.is)
		}
	}
}

// TestARosterOfAnotherFleetIsNotBelieved: of nobody who is not known here already.
func TestARosterOfAnotherFleetIsNotBelieved(t *testing.T) {
	ends := life.New(clock.Real, nil)
	k := New(Config{
		Region: "us", Configured: map[string][]string{"eu": {"eu-1"}},
		Applied: region.NewApplied(&region.View{State: timeline.State{Region: "us"}}, ends),
	})
	damaged := home(7)
	damaged.Regions[0].Addrs = nil
	for _, r := range []fleet.Report{{Region: "ap", Roster: home(9)}, {Region: "eu"}, {Region: "eu", Roster: damaged}} {
		if k.Hear(fleet.Heard{Report: r}); k.heard != nil {
			t.Errorf("believed of %+v", r)
		}
	}
	for _, r := range []*timeline.Roster{home(2), home(3), home(1)} {
		k.Hear(fleet.Heard{Report: fleet.Report{Region: "eu", Roster: r}})
	}
	if k.heard.Number != 3 {
		t.Errorf("roster %d is the newest", k.heard.Number)
	}
}

// TestNobodyIsLeftOutOfARoster who votes, has a slot, or is known to others, but for who goes and witnesses.
func TestNobodyIsLeftOutOfARoster(t *testing.T) {
	s := &timeline.State{
		Region: "us", Slots: []timeline.Slot{{Region: "ap"}, {Region: "eu"}},
		Ballot: &timeline.Ballot{Charter: timeline.Charter{Number: 1, Voters: []timeline.Voter{
			{ID: "na"}, {ID: "us"}, {ID: timeline.WitnessPrefix + "w"},
		}}},
	}
	seen := map[string]string{"sa": "it is in the configuration of eu-1", "eu": "it follows here"}
	missing := strings.Join(left(s, home(1), seen, "ap"), "; ")
	if missing != "region na (it votes); region sa (it is in the configuration of eu-1)" {
		t.Errorf("missing %q", missing)
	}
	if missing := left(&timeline.State{Region: "us"}, home(1), nil, ""); missing != nil {
		t.Errorf("missing %q", missing)
	}
}

// TestWhoHoldsWhatNobodyElseHas, or may, is not removed without a word.
func TestWhoHoldsWhatNobodyElseHas(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	forced := timeline.Reign{Epoch: 2, First: 6, Primary: "eu", Lossy: true}
	handed := timeline.Reign{Epoch: 3, First: 8, Primary: "us", Handoff: 1}
	now := []timeline.Reign{first, forced}
	since := []timeline.Reign{first, forced, handed, {Epoch: 4, First: 9, Primary: "eu", Handoff: 1}}
	anew := []timeline.Reign{first, forced, handed, {Epoch: 4, First: 9, Primary: "eu", Lossy: true}}
	other := []timeline.Reign{first, {Epoch: 2, First: 6, Primary: "us", Lossy: true}}
	said := func(c timeline.Cursor, diverged bool, reigns ...timeline.Reign) *fleet.Heard {
		return &fleet.Heard{Report: fleet.Report{Cursor: c, Reigns: reigns, Diverged: diverged}}
	}
	for name, c := range map[string]struct {
		region string
		reigns []timeline.Reign
		slot   timeline.Position // of the region; zero: it has none
		last   *fleet.Heard
		says   string
	}{
		"a secondary":                    {"ap", now, 0, said(at(2, 8), false, first, forced), ""},
		"one that was never heard":       {"ap", now, 0, nil, ""},
		"one with more":                  {"ap", now, 0, said(at(1, 7), false, first), "has what is up to 5"},
		"one that saves its tail":        {"ap", now, 0, said(at(1, 4), true, first), "has what is up to 4"},
		"who was primary, not heard":     {"us", now, 0, nil, "may hold what it wrote after position 5"},
		"nor since this node started":    {"us", now, 0, nil, "was not heard since this node started"},
		"who was primary, heard before":  {"us", now, 0, said(at(1, 3), false, first), "not heard to have rejoined"},
		"who was primary, and rejoined":  {"us", now, 0, said(at(2, 7), false, first, forced), ""},
		"and was primary since":          {"us", since, 0, nil, ""},
		"and was cut off again":          {"us", anew, 0, nil, "what it wrote after position 8"},
		"and acknowledged what came":     {"us", now, 6, nil, ""},
		"who acknowledged before that":   {"us", now, 5, nil, "may hold what it wrote after position 5"},
		"who acknowledged, and has more": {"us", now, 6, said(at(2, 9), false, other...), "has what is up to 5"},
	} {
		s := &timeline.State{Region: "eu", Cursor: at(timeline.Latest(c.reigns).Epoch, 9), Reigns: c.reigns}
		if c.slot > 0 {
			s.Slots = []timeline.Slot{{Region: "ap", Position: 9}, {Region: c.region, Position: c.slot}}
		}
		if got := alone(s, c.region, c.last); !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}
