package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// alonePrimary waits until every running node says that nobody but region takes writes.
func (f *growingFleet) alonePrimary(region string) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		wrong := ""
		for _, name := range f.names() {
			s := f.nodes[name].Fleet(f.t.Context())
			if s.Primary != region || len(s.TakeWrites) != 1 || s.TakeWrites[0] != region {
				wrong = name + " says that " + s.Primary + " is primary"
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatal(wrong)
		}
	}
}

// removesThePrimary has us remove eu, which was made primary while us was cut off, and does not know.
func (f *growingFleet) removesThePrimary() {
	f.t.Helper()
	f.write("us-1", 3)
	f.found("ap", 1)
	f.add("us-1", "ap")
	f.everywhere()
	f.knows("ap-1", 1, "ap", "eu", "us")
	f.knows("eu-1", 1, "ap", "eu", "us")
	f.network.Cut("us-1", "eu-1")
	f.network.Cut("us-1", "ap-1")
	f.force("eu-1", "eu")
	f.put("us-1", "lost")
	f.write("eu-1", 3)
	f.remove("us-1", replication.RegionRemoval{Region: "eu", Gone: true})
}

// force makes a region primary, whoever answers.
func (f *growingFleet) force(at, region string) {
	f.t.Helper()
	if _, err := f.nodes[at].Failover(f.t.Context(), region, true); err != nil {
		f.t.Fatalf("failover to %s: %v", region, err)
	}
}

// TestNobodyIsRemovedByAnEarlierReign, whoever reigns later: us, which removed eu while that was primary, and is made
// primary again, by a switchover, or by force while eu is dead and has what had not crossed.
func TestNobodyIsRemovedByAnEarlierReign(t *testing.T) {
	for name, forced := range map[string]bool{"switchover": false, "failover": true} {
		t.Run(name, func(t *testing.T) {
			growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
				func(f *growingFleet) {
					f.removesThePrimary()
					f.network.HealAll()
					f.alonePrimary("eu")
					f.everywhere()
					f.knows("us-1", 1, "ap", "eu", "us") // as eu wrote it anew
					if forced {
						f.network.Cut("us-1", "eu-1")
						f.network.Cut("us-1", "ap-1")
						f.put("eu-1", "not crossed")
						f.kill("eu-1")
						f.force("us-1", "us")
						f.network.HealAll()
						f.write("us-1", 1)
						f.start("eu-1")
					} else if _, err := f.nodes["ap-1"].Switchover(f.t.Context(), "us"); err != nil {
						t.Fatal(err)
					}
					f.write("us-1", 3)
					f.everywhere()
					f.alonePrimary("us")
					for _, node := range f.names() {
						f.knows(node, 1, "ap", "eu", "us")
					}
				})
		})
	}
}

// TestWhoWinsAnEpochIsNotRemovedInIt: two sides of a cut both have a primary by force, of one epoch, and the one that
// gives way had removed the other.
func TestWhoWinsAnEpochIsNotRemovedInIt(t *testing.T) {
	growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
		func(f *growingFleet) {
			f.write("us-1", 3)
			f.found("ap", 1)
			f.add("us-1", "ap")
			f.everywhere()
			f.knows("ap-1", 1, "ap", "eu", "us")
			f.knows("eu-1", 1, "ap", "eu", "us")
			f.kill("us-1")
			f.network.Cut("eu-1", "ap-1")
			f.force("eu-1", "eu")
			f.force("ap-1", "ap")
			f.put("eu-1", "lost")
			f.remove("eu-1", replication.RegionRemoval{Region: "ap", Gone: true})
			f.write("ap-1", 3)
			f.network.HealAll()
			f.start("us-1")
			f.alonePrimary("ap")
			f.write("eu-1", 2)
			f.everywhere()
			for _, node := range f.names() {
				f.knows(node, 1, "ap", "eu", "us")
			}
		})
}

// TestARegionIsRemovedThatWasMadePrimary, while it was cut off, by one that did not know: that one hears of it when the
// cut heals, also after a restart, and gives way, and a third region stays with the later epoch.
func TestARegionIsRemovedThatWasMadePrimary(t *testing.T) {
	for name, restarts := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
				func(f *growingFleet) {
					f.removesThePrimary()
					if restarts {
						f.kill("us-1")
						f.start("us-1")
					}
					f.network.Heal("us-1", "eu-1") // so that nobody else tells us
					f.alonePrimary("eu")
					f.network.HealAll()
					f.write("us-1", 2) // by the way to eu
					f.everywhere()
					// The next roster is of the later epoch, and everybody takes it.
					c, err := f.nodes["ap-1"].Topology().Remove(f.t.Context(), replication.RegionRemoval{Region: "ap"})
					if err != nil || c.Epoch != 2 {
						t.Fatalf("%+v, %v", c, err)
					}
					f.ends("ap-1")
					f.forget("ap")
					f.knows("us-1", 2, "eu", "us")
				})
		})
	}
}

// TestARegionThatThePrimaryDoesNotKnowIsNotEnded by the first order: it follows, and is in the file of another region.
func TestARegionThatThePrimaryDoesNotKnowIsNotEnded(t *testing.T) {
	growing(t, func(c *replication.Config) {
		if c.RegionID == "eu" {
			c.Regions["ap"] = []string{"ap-1"}
		}
	}, func(f *growingFleet) {
		f.write("us-1", 3)
		f.found("ap", 1)
		f.everywhere()
		f.found("sa", 1)
		_, err := f.nodes["us-1"].Topology().Add(f.t.Context(),
			replication.RegionAddition{Region: "sa", Peers: []string{"sa-1"}})
		if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "which lacks region ap (it ") {
			t.Errorf("added: %v", err)
		}
		f.write("us-1", 1)
		f.everywhere2("us-1", "eu-1", "ap-1")
	})
}

// TestWhatARemovedRegionHoldsIsNotLostWithoutAWord: us was primary, and has not rejoined since a failover cut it off.
// Nor does another region come under the name of one that cannot know that it is not that.
func TestWhatARemovedRegionHoldsIsNotLostWithoutAWord(t *testing.T) {
	growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
		func(f *growingFleet) {
			f.write("us-1", 3)
			f.everywhere()
			f.kill("us-1")
			f.force("eu-1", "eu")
			f.write("eu-1", 3)
			gone := replication.RegionRemoval{Region: "us", Gone: true}
			_, err := f.nodes["eu-1"].Topology().Remove(f.t.Context(), gone)
			if !errors.Is(err, replication.ErrRejected) ||
				!strings.Contains(err.Error(), "it may hold what it wrote after position 3") {
				t.Errorf("removed: %v", err)
			}
			gone.LoseTail = true
			f.remove("eu-1", gone)
			f.forget("us")
			f.found("us", 1)
			_, err = f.nodes["eu-1"].Topology().Add(f.t.Context(),
				replication.RegionAddition{Region: "us", Peers: []string{"us-1"}})
			if !errors.Is(err, replication.ErrRejected) || !strings.Contains(err.Error(), "under another name") {
				t.Errorf("added: %v", err)
			}
			f.stop("us-1")
			f.forget("us")
		})
}

// TestTheRegionsAndThePrimaryAreNotChangedAtOnce: a switchover would wait, while writes pause, for a roster that is
// written meanwhile. Whoever comes second is told by what he is kept, and may try again after it.
func TestTheRegionsAndThePrimaryAreNotChangedAtOnce(t *testing.T) {
	growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
		func(f *growingFleet) {
			f.write("us-1", 3)
			f.found("ap", 1)
			f.add("us-1", "ap")
			f.everywhere()
			f.kill("eu-1")
			us := f.nodes["us-1"]
			moved := make(chan error, 1)
			go func() {
				_, err := us.Switchover(f.t.Context(), "eu")
				moved <- err
			}()
			virtual.Wait()
			_, err := us.Topology().Remove(f.t.Context(), replication.RegionRemoval{Region: "ap"})
			if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "moved to region eu") {
				t.Errorf("removed during a switchover: %v", err)
			}
			if _, err := us.AbortSwitchover(f.t.Context()); err != nil {
				t.Errorf("taken back: %v", err)
			}
			if err := <-moved; !errors.Is(err, replication.ErrHandoff) {
				t.Errorf("moved: %v", err)
			}
			go func() { // nobody answers there
				_, err := us.Topology().Add(f.t.Context(),
					replication.RegionAddition{Region: "sa", Peers: []string{"sa-1"}})
				moved <- err
			}()
			virtual.Wait()
			_, err = us.Switchover(f.t.Context(), "ap")
			if !errors.Is(err, replication.ErrHandoff) || !strings.Contains(err.Error(), "region sa is being added") {
				t.Errorf("moved while a region is added: %v", err)
			}
			if err := <-moved; !errors.Is(err, replication.ErrNotReady) {
				t.Errorf("added: %v", err)
			}
			if _, err := us.Switchover(f.t.Context(), "ap"); err != nil {
				t.Errorf("moved after that: %v", err)
			}
		})
}

// TestTheFirstOrderIsARemoval, of a region that answers: it knows a roster before, so that its name is free again.
func TestTheFirstOrderIsARemoval(t *testing.T) {
	growing(t, func(c *replication.Config) { c.FleetExists = c.FleetExists || c.RegionID != "us" },
		func(f *growingFleet) {
			f.write("us-1", 3)
			f.everywhere()
			if c := f.remove("us-1", replication.RegionRemoval{Region: "eu", Try: true}); c.Written || c.Number != 0 {
				t.Errorf("tried: %+v", c)
			}
			if c := f.remove("eu-1", replication.RegionRemoval{Region: "eu"}); !c.Written || c.Number != 2 {
				t.Errorf("removed: %+v", c)
			}
			f.ends("eu-1")
			f.staysOut("eu-1")
			f.forget("eu")
			f.found("eu", 1)
			f.add("us-1", "eu")
			f.everywhere()
			f.knows("eu-1", 3, "eu", "us")
		})
}

// TestARosterGoesFromVersionToVersion, region by region: of nodes of the version before it is as that one has it, and
// the regions come, go and move by it; once no node is of that version the primary writes it anew, ranked, and all
// nodes take that, over a restart.
func TestARosterGoesFromVersionToVersion(t *testing.T) {
	old := map[string]bool{"us": true, "eu": true, "ap": true}
	growing(t, func(c *replication.Config) {
		c.FleetExists = c.FleetExists || c.RegionID != "us"
		if old[c.RegionID] {
			c.EntryLevel = new(timeline.LevelRoster)
		}
	}, func(f *growingFleet) {
		ranked := func(node string) bool {
			r := f.nodes[node].Fleet(f.t.Context()).Roster
			return r != nil && r.Ranked
		}
		renew := func(node string) {
			old[f.nodes[node].region] = false
			f.stop(node)
			f.start(node)
			f.write("us-1", 2)
			f.everywhere()
		}
		f.write("us-1", 3)
		f.found("ap", 1)
		f.add("us-1", "ap")
		f.everywhere()
		renew("us-1")
		f.knows("us-1", 1, "ap", "eu", "us")
		f.remove("eu-1", replication.RegionRemoval{Region: "ap"})
		f.ends("ap-1")
		f.forget("ap")
		old["ap"] = false
		f.found("ap", 1)
		f.add("eu-1", "ap")
		f.everywhere()
		f.knows("ap-1", 3, "ap", "eu", "us")
		for _, to := range []string{"eu", "ap", "us"} {
			if _, err := f.nodes["ap-1"].Switchover(f.t.Context(), to); err != nil {
				t.Fatal(err)
			}
			f.write("us-1", 1)
		}
		c, err := f.nodes["us-1"].Topology().Add(f.t.Context(),
			replication.RegionAddition{Region: "ap", Peers: []string{"ap-1", "ap-2"}})
		if err != nil || !c.Written {
			t.Fatalf("other addresses: %+v, %v", c, err)
		}
		f.everywhere()
		for _, node := range f.names() {
			if f.knows(node, 4, "ap", "eu", "us"); ranked(node) {
				t.Errorf("%s goes by a roster that eu does not understand", node)
			}
		}
		renew("eu-1")
		for _, node := range f.names() {
			f.until(node+" goes by a ranked roster", func() bool { return ranked(node) })
			f.knows(node, 4, "ap", "eu", "us")
		}
		for _, node := range f.names() {
			f.stop(node)
		}
		f.startAll()
		f.knows("ap-1", 4, "ap", "eu", "us")
		if _, err := f.nodes["ap-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.write("us-1", 1)
		f.everywhere()
		for _, node := range f.names() {
			f.knows(node, 4, "ap", "eu", "us")
		}
	})
}
