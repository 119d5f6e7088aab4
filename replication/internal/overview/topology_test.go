package overview

import (
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestWhatIsSaidOfTheRegionsOfAFleet, and what is not known is not made up.
func TestWhatIsSaidOfTheRegionsOfAFleet(t *testing.T) {
	cut := false
	roster := &timeline.Roster{Epoch: 2, Number: 3, By: "us", Regions: []timeline.Home{
		{Name: "ap", Addrs: []string{"ap-1"}}, {Name: "eu", Addrs: []string{"eu-1", "eu-2"}},
		{Name: "us", Addrs: []string{"us-1"}},
	}}
	said := func(region string, change func(r *fleet.Report)) *fleet.Region {
		r := fleet.Report{Region: region, Node: region + "-1", Leader: true, Role: timeline.Secondary,
			Claim: timeline.Reign{Epoch: 2, Primary: "us"}, Following: &fleet.Following{Source: "us", Connected: true}}
		change(&r)
		return &fleet.Region{Name: region, Nodes: []fleet.Heard{{Report: r}}}
	}
	primary := func(r *fleet.Report) {
		r.Role, r.Following = timeline.Primary, nil
		r.Slots = []timeline.Slot{{Region: "eu", Position: 7, Lost: true}}
		r.Voting = &fleet.Voting{Charter: timeline.Mark{Epoch: 2, Number: 1}, Voters: []string{"eu", "us"}}
	}
	same := func(*fleet.Report) {}
	all := map[string]*fleet.Region{"ap": {Name: "ap"}, "eu": said("eu", same), "us": said("us", primary)}
	tell := func(k Known, regions map[string]*fleet.Region) map[string]contract.RegionStatus {
		out := &contract.FleetStatus{Primary: "us", Asked: "us-1"}
		for _, name := range []string{"ap", "eu", "us"} {
			r := contract.RegionStatus{Name: name}
			if best := regions[name].Representative(); best != nil {
				r.Role = contract.Role(best.Role)
			}
			out.Regions = append(out.Regions, r)
		}
		k.describe(out, regions)
		byName := map[string]contract.RegionStatus{}
		for _, r := range out.Regions {
			byName[r.Name] = r
		}
		if strays := len(k.Strays); len(out.Notes) != strays || strays > 0 &&
			out.Notes[0] != "region sa is in the configuration of us-1, and not one of the fleet (ap, eu, us): take "+
				"it out of the configuration, or add it: mimir region add sa --peers ADDR[,ADDR]" {
			t.Errorf("notes %q", out.Notes)
		}
		return byName
	}
	by := tell(Known{Roster: roster, Strays: []string{"sa"}}, all)
	if r := by["eu"]; r.Source != "us" || !r.Connected || r.Votes != contract.VoteYes || !r.SlotKnown ||
		*r.Slot != (contract.SlotPosition{Position: 7, Lost: true}) || r.KnownFrom != contract.FromRoster ||
		!slices.Equal(r.Addrs, []string{"eu-1", "eu-2"}) {
		t.Errorf("eu: %+v", r)
	}
	if r := by["ap"]; r.Source != "" || r.Votes != contract.VoteNo || r.Slot != nil || !r.SlotKnown {
		t.Errorf("ap, which nobody heard: %+v", r)
	}
	if r := by["us"]; r.Source != "" || r.Votes != contract.VoteYes || r.Slot != nil || r.SlotKnown {
		t.Errorf("us: %+v", r)
	}
	out := &contract.FleetStatus{}
	former := Known{Roster: roster, Former: map[string]fleet.Region{"na": *said("na", same), "sa": {Name: "sa"}}}
	if former.describe(out, all); len(out.Notes) != 1 || !strings.Contains(out.Notes[0], "node na-1 of region na "+
		"answers, "+
		"which was removed: it claims epoch 2 of us") {
		t.Errorf("of who was removed: %q", out.Notes)
	}
	all["us"] = said("us", func(r *fleet.Report) { primary(r); r.Led = &cut })
	all["eu"] = said("eu", func(r *fleet.Report) { r.Leader = false })
	configured := Known{Others: map[string][]string{"ap": {"ap-9"}, "eu": {"eu-9"}}}
	if r := tell(configured, all)["eu"]; r.Source != "" || r.Votes != contract.VoteUnknown || r.SlotKnown ||
		r.KnownFrom != contract.FromConfiguration || r.Addrs[0] != "eu-9" {
		t.Errorf("eu, where the leader of the primary hears no majority: %+v", r)
	}
	all["us"] = said("us", func(r *fleet.Report) { primary(r); r.Voting = &fleet.Voting{} })
	if r := tell(configured, all)["us"]; r.Votes != contract.VoteNone || r.Addrs != nil {
		t.Errorf("us, where no votes are taken: %+v", r)
	}
}

// Who follows another region than he is to is told of, whichever that is; nobody just because the primary has moved.
func TestWhoFollowsElsewhereIsToldOf(t *testing.T) {
	for name, c := range map[string]struct {
		follows fleet.Following
		wanted  string
		want    string
	}{
		"the primary":                  {follows: fleet.Following{Source: "us"}},
		"another by order":             {follows: fleet.Following{Source: "us", By: "eu"}, wanted: "eu"},
		"the primary against an order": {fleet.Following{Source: "us"}, "eu", "ap is to follow eu, and follows us"},
		"another without an order":     {fleet.Following{Source: "us", By: "eu"}, "", "follows eu in the place of us"},
		"another than ordered":         {fleet.Following{Source: "us", By: "sa"}, "eu", "follow eu, and follows sa"},
		"its source is the primary":    {fleet.Following{Source: "us", By: "sa"}, "us", "sa in the place of us"},
		"the primary before":           {follows: fleet.Following{Source: "eu", By: "sa"}},
	} {
		k := Known{Roster: &timeline.Roster{Epoch: 1, Number: 1, By: "us", Regions: []timeline.Home{
			{Name: "ap", Addrs: []string{"ap-1"}, Source: c.wanted}, {Name: "eu"}, {Name: "sa"}, {Name: "us"},
		}}}
		ap := &fleet.Region{Name: "ap", Nodes: []fleet.Heard{{Report: fleet.Report{
			Region: "ap", Node: "ap-1", Leader: true, Role: timeline.Secondary, Following: &c.follows,
		}}}}
		out := &contract.FleetStatus{Primary: "us", Regions: []contract.RegionStatus{{Name: "ap"}}}
		k.describe(out, map[string]*fleet.Region{"ap": ap})
		if text := strings.Join(out.Notes, "; "); (text != "") != (c.want != "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}
