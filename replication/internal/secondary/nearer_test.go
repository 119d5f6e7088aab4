package secondary

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// A nearer region is asked for a copy only where that is as good as the primary's.
func TestWhichNearerRegionGivesACopy(t *testing.T) {
	cutOff := false
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
		{"it knows who asks", func(eu, _ *fleet.Heard) {
			eu.Roster = timeline.FirstRoster("us", nil, map[string][]string{"ap": nil, "eu": nil})
		}, true},
		{"it has not heard yet that there is who asks", func(eu, _ *fleet.Heard) {
			eu.Roster = timeline.FirstRoster("us", nil, map[string][]string{"eu": nil})
		}, false},
		{"it has diverged", func(eu, _ *fleet.Heard) { eu.Diverged = true }, false},
		{"it has not the last reign", func(eu, _ *fleet.Heard) { eu.Reigns[0].Epoch = 2 }, false},
		{"another region claims to be primary", func(_, us *fleet.Heard) {
			us.Claim = timeline.Reign{Epoch: 4, Primary: "sa"}
		}, false},
	} {
		eu, us := leading("eu"), leading("us")
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

// leading returns the leader of a region that is well in the third reign, of us.
func leading(region string) fleet.Heard {
	h, led, reign := fleet.Heard{Asked: region + "-1"}, true, timeline.Reign{Epoch: 3, Primary: "us"}
	h.Region, h.Leader, h.Term, h.Led, h.Claim, h.Reigns = region, true, 9, &led, reign, []timeline.Reign{reign}
	h.Cursor = timeline.Cursor{Epoch: 3, Position: 100}
	return h
}

// While the primary is silent, any other region gives a copy: the least late one that can.
func TestAnotherRegionGivesACopyWhileThePrimaryIsSilent(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(eu, sa *fleet.Heard, s *session)
		answer bool // the primary does
		want   string
	}{
		{"both are well", func(_, _ *fleet.Heard, _ *session) {}, false, "sa"},
		{"the primary answers", func(_, _ *fleet.Heard, _ *session) {}, true, ""},
		{"one has nothing more", func(_, sa *fleet.Heard, _ *session) { sa.Cursor.Position = 90 }, false, "eu"},
		{"none has", func(eu, sa *fleet.Heard, _ *session) {
			eu.Cursor.Position, sa.Cursor.Position = 90, 90
		}, false, ""},
		{"both gave one", func(_, _ *fleet.Heard, s *session) { s.near = new(timeline.Position(100)) }, false, ""},
		{"both gave one, and got on since", func(_, _ *fleet.Heard, s *session) {
			s.near = new(timeline.Position(99))
		}, false, "sa"},
	} {
		f := followerIn(&shelf{}, timeline.State{Region: "ap", Cursor: timeline.Cursor{Epoch: 3, Position: 90}})
		s := f.enter(succession.Effect{Do: succession.Fetch, Term: 7, Source: "us"})
		eu, sa := leading("eu"), leading("sa")
		eu.Following = &fleet.Following{Source: "us", Connected: true, LagSeconds: 1}
		sa.Following = &fleet.Following{Source: "us", Connected: true, LagSeconds: 0.5}
		c.change(&eu, &sa, s)
		us := fleet.Region{Name: "us"}
		if c.answer {
			us.Nodes = []fleet.Heard{leading("us")}
		}
		v := fleet.View{Regions: map[string]fleet.Region{
			"eu": {Name: "eu", Nodes: []fleet.Heard{eu}}, "sa": {Name: "sa", Nodes: []fleet.Heard{sa}}, "us": us,
		}}
		if got := f.elsewhere(v, s); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
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
	err := f.fits(t.Context(), s, giving{"ap", "ap-1"}, "ap", theirs)
	if got, _ := f.mayGive(s); !errors.Is(err, contract.ErrRejected) || got != "" {
		t.Errorf("%v; %q may give another", err, got)
	}
	if err = f.fits(t.Context(), s, giving{"eu", "eu-1"}, "eu", theirs); err != nil {
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

// Nobody nearer is waited for while the rest of a copy is asked for, which comes from where the part came.
func TestTheRestOfACopyWaitsForNobodyNearer(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		b := &breaking{bytes: []int64{10, 20}}
		f := testFollower(&b.shelf)
		f.config.Copies = b
		f.config.Wanted = func() (string, bool) { return "ap", true } // of which nothing is heard
		defer f.config.Life.Close()
		for _, want := range []time.Duration{nearPatience, 0} {
			began := time.Now()
			f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
			if took := time.Since(began); took != want {
				t.Errorf("after %v %v were asked, want %v", took, b.asked, want)
			}
		}
	})
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

// nearby is a follower in us with so much of a history, which is to have copies of ap while eu is primary.
func nearby(s *shelf, reigns []timeline.Reign, at timeline.Position) (*Follower, *session) {
	state := timeline.State{Region: "us", Reigns: reigns}
	state.Cursor = timeline.Cursor{Epoch: timeline.Latest(reigns).Epoch, Position: at}
	f := followerIn(s, state)
	f.config.Wanted = func() (string, bool) { return "ap", true }
	network := memory.NewNetwork(clock.Real, 1)
	_ = network.Node("ap-1").Serve(map[string]transport.Handler{}) // it does not understand what it is asked
	f.config.Client = peer.NewClient(network.Node("us-1"))
	return f, f.enter(succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
}

// What a nearer region offers is refused before it comes, unless it leads on from what is here.
func TestWhatANearerRegionOffersIsLookedAtBeforeItComes(t *testing.T) {
	one, two := timeline.Reign{Epoch: 1, First: 1, Primary: "eu"}, timeline.Reign{Epoch: 2, First: 41, Primary: "eu"}
	other := timeline.Reign{Epoch: 2, First: 41, Primary: "ap"}
	for _, c := range []struct {
		why    string
		reigns []timeline.Reign
		at     timeline.Position
		comes  bool
	}{
		{"it is further", []timeline.Reign{one}, 50, true},
		{"it is as far", []timeline.Reign{one}, 40, false},
		{"it is as far, and knows of a further reign", []timeline.Reign{one, two}, 40, false},
		{"it is not as far", []timeline.Reign{one}, 39, false},
		{"it is further in a further reign", []timeline.Reign{one, two}, 50, true},
		{"it is of a fork", []timeline.Reign{one, other}, 39, false},
		{"it has the forgotten reign of another", []timeline.Reign{other}, 50, false},
		{"silent", []timeline.Reign{one}, 50, false},
	} {
		s := &shelf{regions: map[string]string{"ap-1": "ap"}, reigns: c.reigns, at: c.at}
		f, session := nearby(s, []timeline.Reign{one}, 40)
		if c.why == "silent" {
			f.config.Client = peer.NewClient(memory.NewNetwork(clock.Real, 1).Node("us-1"))
		}
		session.part = giving{"ap", "ap-1"} // another copy came from there, in part
		_, err := f.take(t.Context(), session, giving{"ap", "ap-1"}, newNotice(0), 0)
		if (err == nil) != c.comes || (len(s.came) == 1) != c.comes {
			t.Errorf("%s: %v; came %v", c.why, err, s.came)
		}
		if again, _ := f.mayGive(session); !c.comes && (again != "" || session.part != (giving{})) {
			t.Errorf("%s: %q is asked again, for the rest of %v", c.why, again, session.part)
		}
		f.config.Life.Close()
	}
}

// A copy of a nearer region that is no part of what the primary has is refused, also by who has nothing yet.
func TestACopyIsAPartOfThePrimarysHistory(t *testing.T) {
	one, two := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}, timeline.Reign{Epoch: 2, First: 41, Primary: "eu"}
	h := fleet.Heard{Asked: "eu-1"}
	h.Leader, h.Term, h.Reigns = true, 3, []timeline.Reign{one, two}
	h.Cursor = timeline.Cursor{Epoch: 2, Position: 60}
	v := fleet.View{Regions: map[string]fleet.Region{"eu": {Name: "eu", Nodes: []fleet.Heard{h}}}}
	for _, c := range []struct {
		reigns []timeline.Reign
		at     timeline.Position
		ok     bool
	}{
		{[]timeline.Reign{one}, 40, true},
		{[]timeline.Reign{one}, 41, false}, // eu began without that
		{[]timeline.Reign{one, two}, 50, true},
		{[]timeline.Reign{one, two}, 70, true}, // eu was heard a while ago
	} {
		there := timeline.Origin{Cursor: timeline.Cursor{Position: c.at}, Reigns: c.reigns}
		if err := leadsOn(v, &timeline.State{Region: "us"}, "ap", "eu", there); (err == nil) != c.ok {
			t.Errorf("at %d of %d reigns: %v", c.at, len(c.reigns), err)
		}
		if err := leadsOn(v, &timeline.State{Region: "us"}, "eu", "eu", there); err != nil {
			t.Errorf("of the primary itself: %v", err)
		}
	}
}

// While a copy is made, who keeps log for it knows from where on, as far as that can be known; and exactly once it is
// offered, and not when it is there.
func TestWhereACopyIsIsToldAsSoonAsItIsKnown(t *testing.T) {
	n := newNotice(0)
	for _, c := range []struct {
		do   func()
		want []timeline.Position
	}{
		{func() {}, []timeline.Position{0}},
		{func() { n.behind(30) }, []timeline.Position{0, 30}},
		{func() { n.is(42) }, []timeline.Position{42}},
		{func() { n.behind(0) }, []timeline.Position{0}}, // another node is asked, of which nothing is known
	} {
		if c.do(); !slices.Equal(n.places(), c.want) {
			t.Errorf("told %v, want %v", n.places(), c.want)
		}
	}

	virtual.Test(t, func(t *testing.T) {
		s := &slow{shelf: shelf{regions: map[string]string{"eu-1": "eu"}, at: 42}, total: 1000}
		f := testFollower(&s.shelf)
		f.config.Copies = s
		defer f.config.Life.Close()
		ended := make(chan struct{})
		go func() {
			f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
			close(ended)
		}()
		told := func(after time.Duration) []string {
			time.Sleep(after)
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.told)
		}
		if got := told(time.Second); !slices.Contains(got, "eu-3 0") || slices.Contains(got, "eu-3 42") {
			t.Errorf("before it was offered was told %v", got)
		}
		if got := told(10 * time.Second); !slices.Contains(got, "eu-3 42") { // it comes for more than a minute
			t.Errorf("a second after it was offered was told %v", got)
		}
		<-ended
	})
}
