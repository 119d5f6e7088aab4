package replication_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// electionTime of the nodes of a testFleet.
const electionTime = replication.DefaultTickInterval * replication.DefaultElectionTicks

// regionOf returns a region of a picture.
func regionOf(s *replication.FleetStatus, name string) *replication.RegionStatus {
	i := slices.IndexFunc(s.Regions, func(r replication.RegionStatus) bool { return r.Name == name })
	return &s.Regions[i]
}

// cutOffSays checks that a node which has heard no leader for longer than the election time says so, and to whom the
// region belonged then, in every picture that it gives.
func (f *testFleet) cutOffSays(name string) {
	f.t.Helper()
	h := f.nodes[name].Health()
	if h.Healthy || h.LeaderID != "" || h.LeaderRaftID != 0 || h.LeaderAddr != "" || h.IsLeader ||
		h.LeaderAgeSeconds <= electionTime.Seconds() || !strings.Contains(h.Problem, "heard") {
		f.t.Errorf("%s, cut off, says that it is healthy: %t, led by %q, heard %.1f s ago, %q", name, h.Healthy,
			h.LeaderID, h.LeaderAgeSeconds, h.Problem)
	}
	if h.Lag.Seconds >= 0 {
		f.t.Errorf("%s, cut off, knows its region's lag: %+v", name, h.Lag)
	}
	for _, n := range h.Nodes {
		if n.Leader {
			f.t.Errorf("%s, cut off, says that %s leads", name, n.Name)
		}
	}
	s := f.nodes[name].Fleet(f.t.Context())
	r := regionOf(s, f.nodes[name].region)
	if !strings.Contains(r.Problem, name+" has heard no ") &&
		!strings.Contains(r.Problem, name+" has, which heard one ") {
		f.t.Errorf("%s, cut off, shows its region as %+v", name, r)
	}
	if r.By != name { // somebody answers it who hears a leader
		return
	}
	if r.LeaderAgeSeconds == nil || *r.LeaderAgeSeconds <= electionTime.Seconds() {
		f.t.Errorf("%s, cut off, shows its region as %+v", name, r)
	}
	if !slices.ContainsFunc(s.Warnings, func(w string) bool {
		return strings.HasPrefix(w, name+", which was asked, has heard no ") && strings.Contains(w, " may be old")
	}) {
		f.t.Errorf("%s, cut off, does not warn: %q", name, s.Warnings)
	}
}

// Whoever is cut off from its leader says so, a voter and a learner, and who asks another node sees it too.
func TestANodeThatIsCutOffFromItsLeaderSaysSo(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader, voter, third := f.leaderOf("us"), f.followersOf("us")[0], f.followersOf("us")[1]
		if err := f.add(leader, "us-4", true); err != nil {
			t.Fatal(err)
		}
		f.regions["us"] = append(f.regions["us"], "us-4")
		f.join("us", "us-4")
		f.within(time.Minute, "all are healthy", func() bool {
			return !slices.ContainsFunc(f.names(), func(n string) bool { return !f.nodes[n].Health().Healthy })
		})
		if s := f.nodes[voter].Fleet(f.t.Context()); len(s.Warnings) > 0 || regionOf(s, "us").Problem != "" {
			t.Errorf("all is well, and it says %q, %q", s.Warnings, regionOf(s, "us").Problem)
		}
		f.network.Isolate(voter)
		f.network.Cut(leader, "us-4")
		time.Sleep(electionTime + 50*time.Millisecond) // before any voter gives its leader up
		for _, name := range []string{voter, "us-4"} {
			f.cutOffSays(name)
		}
		time.Sleep(35 * time.Second)
		for _, name := range []string{voter, "us-4"} {
			f.cutOffSays(name)
		}
		r := regionOf(f.nodes[third].Fleet(f.t.Context()), "us")
		if r.By != leader || !slices.Equal(r.Missing, []string{voter}) || !strings.Contains(r.Problem,
			"us-4 has heard no leader for") {
			t.Errorf("%s says, by %s: %q", third, r.By, r.Problem)
		}
		if r = regionOf(f.nodes["us-4"].Fleet(f.t.Context()), "us"); !strings.Contains(r.Problem,
			"no leader answers; this is what "+third+" has, which heard one 0.") {
			t.Errorf("us-4 says, by %s: %q", r.By, r.Problem)
		}
		f.network.HealAll()
		f.within(time.Minute, "all are healthy again", func() bool {
			return !slices.ContainsFunc(f.names(), func(n string) bool { return !f.nodes[n].Health().Healthy })
		})
	})
}

// A leader that its majority does not answer does not know whether it leads.
func TestALeaderWithoutItsMajorityDoesNotSpeakForTheRegion(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader := f.leaderOf("us")
		f.network.Isolate(leader)
		time.Sleep(electionTime + 50*time.Millisecond)
		f.cutOffSays(leader)
		f.network.HealAll()
		f.leaderOf("us")
	})
}

// A node knows for how long it has asked the leader of the primary in vain, also where nodes of that region answer that
// have none, or one without a majority, and where it has never heard of it since it started.
func TestForHowLongThePrimaryIsSilent(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually([]string{"c0"})
		const while = 15                           // seconds
		primary := func() replication.PeerStatus { // zero until eu-1 knows of it
			h := f.nodes["eu-1"].Health()
			if h.Primary != "us" || len(h.Peers) != 1 {
				return replication.PeerStatus{}
			}
			return h.Peers[0]
		}
		if p := primary(); p.ID != "us" || p.SilentSeconds != 0 {
			t.Errorf("it answers: %+v", p)
		}
		for _, name := range f.followersOf("us") {
			f.stop(name)
		}
		f.within(20*time.Second, "one of three answers, and that is no leader for 15 s", func() bool {
			p := primary()
			return p.SilentSeconds >= while && p.LastHeard == nil
		})
		for _, name := range f.regions["us"] {
			if f.nodes[name].up.Load() {
				f.stop(name)
			}
		}
		f.stop("eu-1")
		f.start("eu-1")
		f.within(30*time.Second, "a node that started since asks in vain for 15 s", func() bool {
			p := primary()
			return p.SilentSeconds >= while && p.LastHeard == nil
		})
		f.startAllOf("us")
		f.within(time.Minute, "it answers again", func() bool {
			p := primary()
			return p.ID == "us" && p.Healthy && p.SilentSeconds == 0
		})
	})
}
