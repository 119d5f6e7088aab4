package overview

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestOnlyARegionWithTheSameHistoryMakesALossSurvivable: being further in another history does not count.
func TestOnlyARegionWithTheSameHistoryMakesALossSurvivable(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	second := timeline.Reign{Epoch: 2, First: 11, Primary: "eu", Lossy: true}
	region := func(name string, last timeline.Position, reigns ...timeline.Reign) *fleet.Region {
		h := fleet.Heard{Report: fleet.Report{
			Region: name, Node: name + "-1", ID: 1, Leader: true, LeaderID: 1, Term: 1,
			Members: []timeline.Member{{ID: 1, Name: name + "-1"}},
			Role:    timeline.Secondary, Reigns: reigns,
			Claim:  timeline.Latest(reigns),
			Cursor: timeline.Cursor{Epoch: timeline.Latest(reigns).Epoch, Position: last},
		}}
		return &fleet.Region{Name: name, Nodes: []fleet.Heard{h}}
	}
	for _, c := range []struct {
		why    string
		us, eu *fleet.Region
		want   bool
	}{
		{"the same", region("us", 10, first), region("eu", 10, first), true},
		{"behind", region("us", 10, first), region("eu", 9, first), false},
		{"further in the same history", region("us", 10, first), region("eu", 30, first, second), true},
		{"further in another history", region("us", 15, first), region("eu", 30, first, second), false},
		{"nobody answers", region("us", 10, first), &fleet.Region{Name: "eu"}, false},
	} {
		regions := map[string]*fleet.Region{"us": c.us, "eu": c.eu}
		for _, r := range summarize("mimir", "us-1", time.Time{}, regions).Regions {
			if r.Name == "us" && r.LossSurvivable != c.want {
				t.Errorf("%s: survivable %t, want %t", c.why, r.LossSurvivable, c.want)
			}
		}
	}
}

// TestTwoHistoriesOfOneReignAreNotHeldByEachOther: neither where the chains tell, nor where only the primary knows.
func TestTwoHistoriesOfOneReignAreNotHeldByEachOther(t *testing.T) {
	us, eu, ap := three("us", 10, 1, 1, 2, 3), three("eu", 10, 1, 1, 2, 3), three("ap", 10, 1, 1, 2, 3)
	survivable := func() (list []string) {
		for _, r := range summarize("mimir", "us-1", time.Time{}, map[string]*fleet.Region{
			"us": us, "eu": eu, "ap": ap,
		}).Regions {
			if r.LossSurvivable {
				list = append(list, r.Name)
			}
		}
		return list
	}
	if got := survivable(); !slices.Equal(got, []string{"ap", "eu", "us"}) {
		t.Errorf("of one history: %q", got)
	}
	ap.Nodes[0].Cursor.Chain = timeline.Chain{1}
	if got := survivable(); !slices.Equal(got, []string{"eu", "us"}) {
		t.Errorf("with another chain at one position: %q", got)
	}
	ap.Nodes[0].Cursor.Position, us.Nodes[0].Unlike = 8, []string{"ap"}
	if got := survivable(); !slices.Equal(got, []string{"eu", "us"}) {
		t.Errorf("with another history that ends earlier: %q", got)
	}
	ap.Nodes[0].Cursor.Position = 12
	if got := survivable(); !slices.Equal(got, []string{"eu", "us"}) {
		t.Errorf("with one that ends later: %q", got)
	}
}

// three returns a region of three voters in which the nodes with these numbers answer; leader is the number of the one
// that leads, zero if it does not answer.
func three(name string, last timeline.Position, leader int, answer ...int) *fleet.Region {
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	r := &fleet.Region{Name: name}
	for _, i := range answer {
		h := fleet.Heard{Report: fleet.Report{
			Region: name, Node: name + "-" + string(rune('0'+i)), ID: uint64(i), Leader: i == leader,
			LeaderID: uint64(leader), Term: 1, Role: timeline.Secondary, Reigns: []timeline.Reign{reign}, Claim: reign,
			Cursor: timeline.Cursor{Epoch: 1, Position: last},
			Nodes:  []fleet.Node{{ID: 1, Name: name + "-1"}, {ID: 2, Name: name + "-2"}, {ID: 3, Name: name + "-3"}},
			// The third never started: it described itself to nobody.
			Members: []timeline.Member{{ID: 1, Name: name + "-1"}, {ID: 2, Name: name + "-2"}},
		}}
		if name == "us" {
			h.Role, h.Writable = timeline.Primary, true
		}
		r.Nodes = append(r.Nodes, h)
	}
	return r
}

func summaryOf(us, eu *fleet.Region, now time.Time) (*contract.FleetStatus, *contract.RegionStatus) {
	f := summarize("mimir", "eu-1", now, map[string]*fleet.Region{"us": us, "eu": eu})
	return f, &f.Regions[1]
}

// TestWhoIsNoLeaderDoesNotSpeakForWhatItsRegionAcknowledged: it may be behind.
func TestWhoIsNoLeaderDoesNotSpeakForWhatItsRegionAcknowledged(t *testing.T) {
	eu := three("eu", 10, 1, 1, 2, 3)
	for _, c := range []struct {
		why               string
		us                *fleet.Region
		known, survivable bool
	}{
		{"all answer", three("us", 10, 1, 1, 2, 3), true, true},
		{"the leader is ahead", three("us", 11, 1, 1, 2, 3), true, false},
		{"a majority answers", three("us", 10, 1, 1, 2), true, true},
		{"the leader does not answer", three("us", 10, 0, 2, 3), false, false},
		{"the leader alone answers, and may be none any more", three("us", 10, 1, 1), false, false},
	} {
		if _, r := summaryOf(c.us, eu, time.Time{}); r.LossKnown != c.known || r.LossSurvivable != c.survivable {
			t.Errorf("%s: known %t, survivable %t", c.why, r.LossKnown, r.LossSurvivable)
		}
	}
	deposed := three("us", 10, 1, 1, 2, 3)
	deposed.Nodes[1].Term, deposed.Nodes[1].LeaderID = 2, 2
	deposed.Nodes[2].Term, deposed.Nodes[2].LeaderID = 2, 2
	if _, r := summaryOf(deposed, eu, time.Time{}); r.LossKnown || !strings.Contains(r.Problem, "no majority") {
		t.Errorf("a leader that its majority left: %+v", r)
	}
}

// TestNodesOfTheConfigurationCount, also those that never came.
func TestNodesOfTheConfigurationCount(t *testing.T) {
	_, r := summaryOf(three("us", 10, 1, 1, 2), three("eu", 10, 1, 1, 2, 3), time.Time{})
	if r.Voters != 3 || r.Reachable != 2 || r.Survivable || !slices.Equal(r.Missing, []string{"us-3"}) ||
		len(r.Nodes) != 3 || r.Problem != "nodes missing: us-3" {
		t.Errorf("%+v", r)
	}
}

// TestAPlaceIsNotMissing: it does not vote, and no node is lost. A learner that does not answer is missing.
func TestAPlaceIsNotMissing(t *testing.T) {
	for _, c := range []struct {
		why     string
		node    fleet.Node
		members []timeline.Member
		held    bool
	}{
		{"a place", fleet.Node{ID: 9, PeerAddr: "us-4:1", Learner: true},
			[]timeline.Member{{ID: 9, PeerAddr: "us-4:1", Learner: true}}, true},
		{"a learner that never spoke", fleet.Node{ID: 9, Learner: true}, nil, false},
		{"a learner", fleet.Node{ID: 9, Name: "us-4", PeerAddr: "us-4:1", Learner: true},
			[]timeline.Member{{ID: 9, Name: "us-4", PeerAddr: "us-4:1", Learner: true, Starts: 1}}, false},
	} {
		us := three("us", 10, 1, 1, 2, 3)
		us.Nodes[0].Notes = []string{"eu takes over"}
		us.Nodes[0].Nodes = append(us.Nodes[0].Nodes, c.node)
		us.Nodes[0].Members = append(us.Nodes[0].Members, c.members...)
		f, r := summaryOf(us, three("eu", 10, 1, 1, 2, 3), time.Time{})
		i := slices.IndexFunc(r.Nodes, func(n contract.NodeStatus) bool { return n.ID == 9 })
		if n := r.Nodes[i]; n.Expected != c.held || n.WillVote != c.held || (len(r.Missing) == 0) != c.held ||
			(r.Problem == "") != c.held || r.Voters != 3 || !r.Survivable {
			t.Errorf("%s: %+v, %+v", c.why, n, r)
		}
		want := []string{"eu takes over", "region us: a place is held for us-4:1, where no node came yet"}
		if !slices.Equal(f.Notes, want[:len(f.Notes)]) || (len(f.Notes) == 2) != c.held {
			t.Errorf("%s: %q", c.why, f.Notes)
		}
	}
}

// TestARegionThatIsSilentIsShownAsItWasLastHeard, with the age of that, and not with zeros.
func TestARegionThatIsSilentIsShownAsItWasLastHeard(t *testing.T) {
	now := time.Unix(1_000, 0)
	last := three("us", 10, 1, 1).Nodes[0]
	last.At = now.Add(-34 * time.Second)
	us := &fleet.Region{Name: "us", Last: &last}
	_, r := summaryOf(us, three("eu", 7, 1, 1, 2, 3), now)
	if r.Heard || r.LastHeard == nil || r.LastHeard.Position != 10 || r.LastHeard.AgeSeconds != 34 ||
		!strings.HasSuffix(r.Problem, "last heard 34 s ago, by us-1: primary of epoch 1 at position 10") {
		t.Errorf("%+v, %+v", r, r.LastHeard)
	}
	_, r = summaryOf(&fleet.Region{Name: "us"}, three("eu", 7, 1, 1, 2, 3), now)
	if r.LastHeard != nil || !strings.Contains(r.Problem, "never heard") {
		t.Errorf("%+v", r)
	}
}

// TestTwoPrimariesAreTheFirstWarning, and one that takes no writes, or may exist, is one.
func TestTwoPrimariesAreTheFirstWarning(t *testing.T) {
	begun := timeline.Reign{Epoch: 2, First: 8, Primary: "eu", Lossy: true}
	eu := three("eu", 7, 1, 1, 2, 3)
	for i := range eu.Nodes {
		eu.Nodes[i].Role, eu.Nodes[i].Writable, eu.Nodes[i].Claim = timeline.Primary, true, begun
	}
	f, _ := summaryOf(three("us", 10, 1, 1, 2, 3), eu, time.Time{})
	if len(f.TakeWrites) != 2 || len(f.Warnings) == 0 || !strings.HasPrefix(f.Warnings[0], "TWO PRIMARIES: ") {
		t.Errorf("two: %v %q", f.TakeWrites, f.Warnings)
	}
	starting := three("us", 10, 1, 1, 2, 3)
	starting.Nodes[0].TakesWrites = new(bool)
	f, _ = summaryOf(starting, eu, time.Time{})
	if len(f.TakeWrites) != 1 || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "takes no writes") {
		t.Errorf("one of them takes none: %v %q", f.TakeWrites, f.Warnings)
	}
	f, _ = summaryOf(&fleet.Region{Name: "us"}, eu, time.Time{})
	if len(f.TakeWrites) != 1 || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "us, which does not answer") {
		t.Errorf("one that is silent: %v %q", f.TakeWrites, f.Warnings)
	}
	eu.Nodes[0].Voting = &fleet.Voting{Voters: []string{"eu", "us", "witness/w"}}
	if f, _ = summaryOf(&fleet.Region{Name: "us"}, eu, time.Time{}); len(f.Warnings) != 0 {
		t.Errorf("one that is silent, and was voted out: %q", f.Warnings)
	}
	watched := three("us", 10, 1, 1, 2, 3)
	watched.Nodes[0].Warnings, watched.Nodes[0].Notes = []string{"witness/w is silent"}, []string{"eu takes over"}
	f, _ = summaryOf(watched, three("eu", 7, 1, 1, 2, 3), time.Time{})
	if !slices.Equal(f.Warnings, watched.Nodes[0].Warnings) || !slices.Equal(f.Notes, watched.Nodes[0].Notes) {
		t.Errorf("what the leader of the primary says: %q, %q", f.Warnings, f.Notes)
	}
	if f, _ = summaryOf(&fleet.Region{Name: "us"}, &fleet.Region{Name: "eu"}, time.Time{}); f.Primary != "" {
		t.Errorf("nobody answers, and the primary is %q", f.Primary)
	}
	sealed := three("us", 10, 1, 1, 2, 3)
	for i := range sealed.Nodes {
		sealed.Nodes[i].Sealed, sealed.Nodes[i].Writable = &timeline.Seal{}, false
	}
	f, _ = summaryOf(sealed, eu, time.Time{})
	if len(f.Warnings) != 0 {
		t.Errorf("in the middle of a switchover: %q", f.Warnings)
	}
}

// TestWhoHandedOverIsNotSaidToTakeWrites, when it does not answer afterwards: its epoch was over before the next one
// began. Who was left behind by force may, however often the primary moved since.
func TestWhoHandedOverIsNotSaidToTakeWrites(t *testing.T) {
	reign := func(epoch timeline.Epoch, primary string, lossy bool) timeline.Reign {
		return timeline.Reign{Epoch: epoch, First: timeline.Position(epoch), Primary: primary, Lossy: lossy}
	}
	first := reign(1, "us", false)
	for _, c := range []struct {
		why    string
		reigns []timeline.Reign
		last   timeline.Epoch // in which us was primary when it was last heard; zero: it never was heard
		want   bool
	}{
		{"handed over", []timeline.Reign{first, reign(2, "eu", false)}, 1, false},
		{"handed over, never heard", []timeline.Reign{first, reign(2, "eu", false)}, 0, false},
		{"forced", []timeline.Reign{first, reign(2, "eu", true)}, 1, true},
		{"forced, never heard", []timeline.Reign{first, reign(2, "eu", true)}, 0, true},
		{"forced, and handed on", []timeline.Reign{first, reign(2, "ap", true), reign(3, "eu", false)}, 1, true},
		{"forced, and handed on, never heard",
			[]timeline.Reign{first, reign(2, "ap", true), reign(3, "eu", false)}, 0, true},
		{"handed over, and forced from there", []timeline.Reign{first, reign(2, "ap", false), reign(3, "eu", true)}, 1,
			false},
		{"an epoch of another branch", []timeline.Reign{first, reign(2, "ap", true), reign(3, "eu", false)}, 2, true},
		{"the same epoch of another branch", []timeline.Reign{first, reign(2, "eu", true)}, 2, true},
	} {
		eu := three("eu", 7, 1, 1, 2, 3)
		for i := range eu.Nodes {
			eu.Nodes[i].Role, eu.Nodes[i].Writable = timeline.Primary, true
			eu.Nodes[i].Reigns, eu.Nodes[i].Claim = c.reigns, timeline.Latest(c.reigns)
		}
		us := &fleet.Region{Name: "us"}
		if c.last > 0 {
			last := three("us", 10, 1, 1).Nodes[0]
			last.Role, last.Cursor.Epoch = timeline.Primary, c.last
			us.Last = &last
		}
		f, _ := summaryOf(us, eu, time.Time{})
		if got := len(f.Warnings) == 1 && strings.Contains(f.Warnings[0], "without us"); got != c.want {
			t.Errorf("%s: %q", c.why, f.Warnings)
		}
	}
}
