package replication_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

const (
	wentBack    = "has the state at the fork, from a checkpoint of its own"
	bootstraps  = "bootstraps"
	cannotGo    = "cannot go back to the fork by its own checkpoints; takes a copy of the whole state"
	ofAnother   = "copy to install is not here; takes the state of another node"
	installed   = "installed the state of the source"
	marksFolder = "/data/rewind/marks"
)

// forking is a fleet of files of which us-1 to us-3 have a tail behind position 20, and eu took over there and wrote on
// to 30. us is down.
func forking(t *testing.T, shape func(*replication.Config), body func(f *testFleet, l listener)) {
	shaped(t, map[string]int{"us": 3, "eu": 1}, shape, func(f *testFleet) {
		f.stopAll() // they had no files
		f.files = true
		l := listener{f.log, new(sync.Mutex), map[string]int{}}
		f.log = l
		for _, n := range f.nodes {
			n.disk = freshDisk()
		}
		f.startAll()
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.awaitMarks("us")
		for i := 10; i < 20; i++ {
			f.put("us-2", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 20))
		f.losesTail(20, 30)
		body(f, l)
	})
}

// awaitMarks waits until every node of a region has a checkpoint to go back to.
func (f *testFleet) awaitMarks(region string) {
	f.t.Helper()
	whole := func(name string) bool { return !strings.HasSuffix(name, ".tmp") }
	f.until("every node has a checkpoint", func() bool {
		for _, name := range f.regions[region] {
			list, _ := f.nodes[name].disk.List(marksFolder)
			if !slices.ContainsFunc(list, whole) {
				return false
			}
		}
		return true
	})
}

// until waits, in virtual time, for what is to come.
func (f *testFleet) until(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("in vain: %s", what)
		}
	}
}

func (f *testFleet) savedTail(name string) {
	f.t.Helper()
	tails, err := f.nodes[name].Tails(f.t.Context())
	if err != nil || len(tails) != 1 || tails[0].Commands != 5 || tails[0].Fork != 20 {
		f.t.Fatalf("%s: tails %+v, %v", name, tails, err)
	}
}

// TestADeposedPrimaryGoesBackByItself: it needs no copy of the state from another region, and neither when it is
// deposed again.
func TestADeposedPrimaryGoesBackByItself(t *testing.T) {
	forking(t, func(*replication.Config) {}, func(f *testFleet, l listener) {
		f.start("us-1")
		f.start("us-2")
		f.eventually(values(0, 30))
		f.start("us-3") // away while the others went back: it does so when it comes to the entry in its log
		f.eventually(values(0, 30))
		if l.count(wentBack) != 3 || l.count(bootstraps) != 0 || l.count(ofAnother) != 0 {
			t.Fatalf("%d nodes went back, %d copies, %d states of siblings", l.count(wentBack), l.count(bootstraps),
				l.count(ofAnother))
		}
		reigns := f.nodes["eu-1"].ledger.begun()
		for _, name := range f.regions["us"] {
			f.savedTail(name)
			if !slices.Equal(f.nodes[name].ledger.begun(), reigns) {
				t.Errorf("%s: reigns %+v, %+v", name, f.nodes[name].ledger.begun(), reigns)
			}
		}
		f.until("what was made is removed", func() bool {
			for _, name := range f.regions["us"] {
				if left, err := f.nodes[name].disk.List("/data/rewind/states"); err != nil || len(left) > 0 {
					return false
				}
			}
			return true
		})
		f.awaitMarks("us")
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "us"); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "c30")
		f.eventually(values(0, 31))
		f.cutOff("us", "eu-1")
		f.put("us-2", "lost again")
		for _, n := range f.regions["us"] {
			f.kill(n)
		}
		f.network.HealAll()
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.startAllOf("us")
		f.put("eu-1", "c31")
		f.eventually(values(0, 32))
		if l.count(wentBack) != 6 || l.count(bootstraps) != 0 {
			t.Fatalf("%d went back, %d copies", l.count(wentBack), l.count(bootstraps))
		}
	})
}

func (f *testFleet) startAllOf(region string) {
	for _, n := range f.regions[region] {
		f.start(n)
	}
}

// TestWithoutACheckpointBeforeTheForkItTakesACopy, by itself, and says why.
func TestWithoutACheckpointBeforeTheForkItTakesACopy(t *testing.T) {
	forking(t, func(*replication.Config) {}, func(f *testFleet, l listener) {
		for _, name := range []string{"us-1", "us-2"} {
			if err := f.nodes[name].disk.RemoveAll(marksFolder); err != nil {
				t.Fatal(err)
			}
		}
		f.startAllOf("us")
		f.eventually(values(0, 30))
		if l.count(bootstraps) == 0 || l.count(cannotGo) == 0 {
			t.Fatalf("%d copies, said %d times", l.count(bootstraps), l.count(cannotGo))
		}
		for _, name := range f.regions["us"] {
			f.savedTail(name)
		}
	})
}

// TestNothingStaysOfWhatIsNotWanted: its nodes lose power when the first has the state, and come back where no
// checkpoints are wanted. What they made for going back goes once they follow, and what they had begun to save at once.
func TestNothingStaysOfWhatIsNotWanted(t *testing.T) {
	every := int64(0)
	forking(t, func(c *replication.Config) { c.CheckpointBytes = every }, func(f *testFleet, l listener) {
		f.startAllOf("us")
		f.until("a node has the state", func() bool { return l.count(wentBack) > 0 })
		for _, n := range f.regions["us"] {
			f.kill(n)
			part := "/data/rescue/begun.state.tmp/contents"
			if err := f.nodes[n].disk.MkdirAll(part, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		f.someStates("us")
		every = -1
		f.startAllOf("us")
		f.eventually(values(0, 30))
		f.until("nothing is left", func() bool {
			for _, n := range f.regions["us"] {
				rewind, _ := f.nodes[n].disk.List("/data/rewind")
				states, _ := f.nodes[n].disk.List(statesFolder)
				if slices.Contains(rewind, "marks") || len(states) > 0 {
					return false
				}
			}
			return true
		})
		for _, n := range f.regions["us"] {
			f.savedTail(n)
			if saved, _ := f.nodes[n].disk.List("/data/rescue"); len(saved) != 1 {
				t.Errorf("%s: %v beside the tail", n, saved)
			}
		}
	})
}

const statesFolder = "/data/rewind/states"

// someStates fails the test if no node of a region has a state at the fork on its disk.
func (f *testFleet) someStates(region string) {
	f.t.Helper()
	has := func(name string) bool {
		list, _ := f.nodes[name].disk.List(statesFolder)
		return len(list) > 0
	}
	if !slices.ContainsFunc(f.regions[region], has) {
		f.t.Fatal("no node has a state at the fork")
	}
}

// TestAStateThatIsAgreedOnIsUsedWhereNoneAreWanted: all nodes lose power when the first is about to install it, and
// come back where no checkpoints are wanted. Nobody else has it.
func TestAStateThatIsAgreedOnIsUsedWhereNoneAreWanted(t *testing.T) {
	every := int64(0)
	forking(t, func(c *replication.Config) { c.CheckpointBytes = every }, func(f *testFleet, l listener) {
		var once sync.Once
		disks := make(chan map[string]*vfs.MemFS, 1)
		cut := func(dir string) {
			if !strings.HasPrefix(dir, statesFolder) {
				return
			}
			once.Do(func() {
				left := map[string]*vfs.MemFS{}
				for _, n := range f.regions["us"] {
					left[n] = f.nodes[n].disk.CrashClone(vfs.CrashCloneCfg{})
				}
				disks <- left
			})
		}
		for _, n := range f.regions["us"] {
			f.nodes[n].installs = cut
		}
		f.startAllOf("us")
		f.until("a node installs the state", func() bool { return len(disks) > 0 })
		left := <-disks
		for _, n := range f.regions["us"] {
			f.kill(n)
			f.nodes[n].disk, f.nodes[n].installs = left[n], nil
		}
		f.someStates("us")
		every = -1
		before := l.count(installed)
		f.startAllOf("us")
		f.eventually(values(0, 30))
		if l.count(bootstraps) != 0 || l.count(installed) == before {
			t.Errorf("%d copies of another region, %d installs", l.count(bootstraps), l.count(installed)-before)
		}
		for _, n := range f.regions["us"] {
			f.savedTail(n)
		}
	})
}

// TestItGoesBackThroughPowerCuts: all its nodes lose power as soon as the first has the state, and once more when that
// is agreed on.
func TestItGoesBackThroughPowerCuts(t *testing.T) {
	forking(t, func(*replication.Config) {}, func(f *testFleet, l listener) {
		for round := range 3 {
			f.startAllOf("us")
			f.until("a node has the state", func() bool { return l.count(wentBack) > 0 || round > 0 })
			for _, n := range f.regions["us"] {
				f.kill(n)
			}
		}
		f.startAllOf("us")
		f.eventually(values(0, 30))
		if l.count(bootstraps) != 0 || l.count(ofAnother) != 0 {
			t.Fatalf("%d copies, %d states of siblings", l.count(bootstraps), l.count(ofAnother))
		}
		for _, name := range f.regions["us"] {
			f.savedTail(name)
		}
	})
}

// TestTwoLossyReigns: us loses a tail to eu, which writes, and loses a tail to ap, which writes. Both come back, in
// either order, us through power cuts, or one of its nodes behind the others. What was acknowledged is in the history
// or in a rescue file, and no copy of the state is taken.
func TestTwoLossyReigns(t *testing.T) {
	for _, first := range []string{"us", "eu", "us, one node last"} {
		t.Run(first, func(t *testing.T) {
			shape := func(*replication.Config) {}
			shaped(t, map[string]int{"us": 3, "eu": 1, "ap": 1}, shape, func(f *testFleet) {
				l := f.twoLossyReigns()
				switch first {
				case "eu":
					f.start("eu-1")
					f.eventually(values(0, 40))
				case "us, one node last":
					f.start("us-1")
					f.start("us-2")
					f.eventually(values(0, 40))
				case "us":
					for round := range 2 {
						f.startAllOf("us")
						f.until("a node has the state", func() bool { return l.count(wentBack) > 0 || round > 0 })
						for _, n := range f.regions["us"] {
							f.kill(n)
						}
					}
				}
				for _, n := range f.names() {
					if !f.nodes[n].up.Load() {
						f.start(n)
					}
				}
				f.put("ap-1", "c40")
				f.eventually(values(0, 41))
				if l.count(bootstraps) != 0 || l.count(ofAnother) != 0 {
					t.Errorf("%d copies, %d states of siblings", l.count(bootstraps), l.count(ofAnother))
				}
				for _, name := range f.regions["us"] {
					f.savedTail(name)
				}
				tails, err := f.nodes["eu-1"].Tails(f.t.Context())
				if err != nil || len(tails) != 1 || tails[0].Commands != 5 || tails[0].Fork != 30 {
					t.Errorf("eu: tails %+v, %v", tails, err)
				}
			})
		})
	}
}

// twoLossyReigns has us and eu lose a tail one after the other, to eu and ap. Both are down then.
func (f *testFleet) twoLossyReigns() listener {
	f.stopAll() // they had no files
	f.files = true
	l := listener{f.log, new(sync.Mutex), map[string]int{}}
	f.log = l
	for _, n := range f.nodes {
		n.disk = freshDisk()
	}
	f.startAll()
	write := func(node, prefix string, from, to int) {
		for i := from; i < to; i++ {
			f.put(node, fmt.Sprintf("%s%d", prefix, i))
		}
	}
	write("us-1", "c", 0, 10)
	f.eventually(values(0, 10))
	f.awaitMarks("us")
	f.awaitMarks("eu")
	write("us-1", "c", 10, 20)
	f.eventually(values(0, 20))
	loses := func(region, to string, others ...string) {
		f.cutOff(region, others...)
		write(region+"-1", "lost", 0, 5)
		for _, n := range f.regions[region] {
			f.kill(n)
		}
		f.network.HealAll()
		if _, err := f.nodes[to+"-1"].Failover(f.t.Context(), to, true); err != nil {
			f.t.Fatal(err)
		}
	}
	loses("us", "eu", "eu-1", "ap-1")
	write("eu-1", "c", 20, 30)
	f.eventually(values(0, 30))
	loses("eu", "ap", "ap-1")
	write("ap-1", "c", 30, 40)
	return l
}

// TestWhatWasRebuiltGoesBackToNothingOfBefore: what was wrong when its checkpoints were made does not come back by
// them.
func TestWhatWasRebuiltGoesBackToNothingOfBefore(t *testing.T) {
	shaped(t, map[string]int{"us": 3, "eu": 1}, func(*replication.Config) {}, func(f *testFleet) {
		f.stopAll() // they had no files
		f.files = true
		for _, n := range f.nodes {
			n.disk = freshDisk()
		}
		f.startAll()
		f.put("us-1", "c0")
		f.awaitMarks("us")
		name := f.followersOf("us")[0]
		disk := f.nodes[name].disk
		before, err := disk.List(marksFolder)
		if err != nil {
			t.Fatal(err)
		}
		f.put("us-1", "c1") // so that the next one has another name
		f.eventually(values(0, 2))
		if _, err := f.nodes[name].Rebuild(f.t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := disk.List(marksFolder)
		if err != nil || slices.ContainsFunc(left, func(mark string) bool { return slices.Contains(before, mark) }) {
			t.Errorf("left %q of %q, %v", left, before, err)
		}
		f.put("us-1", "c2")
		f.eventually(values(0, 3))
		f.awaitMarks("us")
	})
}
