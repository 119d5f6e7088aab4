package secondary

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A nearer region is asked for a copy only where that is as good as the primary's.
func TestWhichNearerRegionGivesACopy(t *testing.T) {
	led, cutOff := true, false
	reign := timeline.Reign{Epoch: 3, Primary: "us"}
	for _, c := range []struct {
		why    string
		change func(eu, us *fleet.Heard)
		is     bool
	}{
		{"it is well", func(_, _ *fleet.Heard) {}, true},
		{"it has nothing more", func(eu, _ *fleet.Heard) { eu.Cursor.Position = 90 }, false},
		{"it is cut off", func(eu, _ *fleet.Heard) { eu.Led = &cutOff }, false},
		{"it does not lead", func(eu, _ *fleet.Heard) { eu.Leader = false }, false},
		{"it shows its history late", func(eu, _ *fleet.Heard) { eu.Late = new(fleet.Late) }, false},
		{"it is not served", func(eu, _ *fleet.Heard) { eu.Following.Connected = false }, false},
		{"it is far behind", func(eu, _ *fleet.Heard) { eu.Following.LagSeconds = 60 }, false},
		{"how far it is behind is not known", func(eu, _ *fleet.Heard) { eu.Following.LagSeconds = -1 }, false},
		{"it is behind by more than it says", func(eu, _ *fleet.Heard) { eu.Following.AtLeast = true }, false},
		{"it follows who asks", func(eu, _ *fleet.Heard) { eu.Following.By = "ap" }, false},
		{"it has diverged", func(eu, _ *fleet.Heard) { eu.Diverged = true }, false},
		{"it has not the last reign", func(eu, _ *fleet.Heard) { eu.Reigns[0].Epoch = 2 }, false},
		{"another region claims to be primary", func(_, us *fleet.Heard) {
			us.Claim = timeline.Reign{Epoch: 4, Primary: "sa"}
		}, false},
	} {
		node := func(addr string) fleet.Heard {
			h := fleet.Heard{Asked: addr}
			h.Leader, h.Term, h.Led, h.Claim, h.Reigns = true, 9, &led, reign, []timeline.Reign{reign}
			h.Cursor = timeline.Cursor{Epoch: 3, Position: 100}
			return h
		}
		eu, us := node("eu-1"), node("us-1")
		eu.Following = &fleet.Following{Source: "us", Connected: true}
		c.change(&eu, &us)
		v := fleet.View{Regions: map[string]fleet.Region{
			"eu": {Name: "eu", Nodes: []fleet.Heard{eu}}, "us": {Name: "us", Nodes: []fleet.Heard{us}},
		}}
		s := &timeline.State{Region: "ap", Cursor: timeline.Cursor{Epoch: 3, Position: 90}}
		if got := gives(v, s, "us", "eu"); got != c.is {
			t.Errorf("%s: %t", c.why, got)
		}
	}
}

// Who had a copy of a nearer region, and needs another before it got on, gets that from the primary, as does who does
// not go on with what came.
func TestANearerRegionIsAskedOnce(t *testing.T) {
	f := testFollower(&shelf{})
	f.config.Wanted = func() (string, bool) { return "ap", true }
	s := f.enter(succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	if got, _ := f.mayGive(s); got != "ap" {
		t.Fatalf("%q may give a copy", got)
	}
	s.have(&succession.Copy{ID: "x", Origin: timeline.Origin{Cursor: timeline.Cursor{Position: 5}}}, "eu")
	if got, _ := f.mayGive(s); got != "ap" {
		t.Errorf("%q may give a copy after one of the primary", got)
	}
	s.have(&succession.Copy{ID: "y", Origin: timeline.Origin{Cursor: timeline.Cursor{Position: 5}}}, "ap")
	if got, _ := f.mayGive(s); got != "" || s.of != "ap" {
		t.Errorf("%q may give a copy again; the last was of %s", got, s.of)
	}

	ours := []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}}
	f = followerIn(&shelf{}, timeline.State{Region: "us", Reigns: ours, Cursor: timeline.Cursor{Epoch: 1, Position: 9}})
	f.config.Wanted = func() (string, bool) { return "ap", true }
	s = f.enter(succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	theirs := &succession.Copy{Origin: timeline.Origin{Cursor: timeline.Cursor{Epoch: 1, Position: 9},
		Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "eu"}}}}
	err := f.fits(s, giving{"ap", "ap-1"}, "ap", theirs)
	if got, _ := f.mayGive(s); !errors.Is(err, contract.ErrRejected) || got != "" {
		t.Errorf("%v; %q may give another", err, got)
	}
	if err = f.fits(s, giving{"eu", "eu-1"}, "eu", theirs); err != nil {
		t.Errorf("of the primary: %v", err)
	}
}

// The rest of a copy is asked for where the part came from.
func TestTheRestOfACopyIsAskedForFirst(t *testing.T) {
	all := []giving{{"ap", "ap-1"}, {"eu", "eu-1"}, {"eu", "eu-2"}}
	c := copied{}
	c.came(giving{"eu", "eu-2"}, 10)
	if got := c.copySources(all); got[0] != (giving{"eu", "eu-2"}) || len(got) != 3 || !slices.Contains(got, all[0]) {
		t.Errorf("asks %v", got)
	}
}

// Whose copy a region takes is not what it was the time before.
func TestABootstrapNamesItsOwnGiver(t *testing.T) {
	f := testFollower(&shelf{})
	f.giver = "ap"
	f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "sa"}) // of which nobody is known
	if f.giver != "sa" {
		t.Errorf("a copy of %s is looked for, and %s is named", "sa", f.giver)
	}
}
