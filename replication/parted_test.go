package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestAPrimaryThatWentBackAndWentOnIsFenced: nobody remembers the node's disk, and it has written more since than it
// lost. What the other region holds is not in its history all the same: it takes no more writes and confirms no reads.
func TestAPrimaryThatWentBackAndWentOnIsFenced(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		old := f.goesOn("us-1", 5)
		f.kill("us-1")
		f.kill("eu-1")
		f.forget("eu-1")
		f.nodes["us-1"].disk = old
		f.start("us-1")
		for range 20 {
			f.put("us-1", "other")
		}
		f.start("eu-1")
		f.within(time.Minute, "us-1 knows that it parted", func() bool {
			return strings.Contains(f.nodes["us-1"].Health().Problem, "with other contents")
		})
		f.takesNothing("us-1", "eu-1")
		f.goesOnElsewhere(5)
	})
}

// wentOnUnseen has us lose what it wrote behind c0, up to count values that eu holds, and write others while eu is
// away, which begin with the one that it lost. Then eu is back.
func (f *testFleet) wentOnUnseen(count int, others ...string) {
	f.t.Helper()
	old := f.goesOn("us-1", count)
	f.kill("us-1")
	f.kill("eu-1")
	f.forget("eu-1")
	f.nodes["us-1"].disk = old
	f.start("us-1")
	for _, v := range others {
		f.put("us-1", v)
	}
	f.start("eu-1")
	f.within(time.Minute, "us-1 is fenced", func() bool {
		return strings.Contains(f.nodes["us-1"].Health().Problem, "takes no writes")
	})
}

// TestOfTwoHistoriesOfOneReignTheLosersIsSaved, from where they part on, and not from where one of them ends: whether
// it is the longer or the shorter one, or has nothing that the other has not.
func TestOfTwoHistoriesOfOneReignTheLosersIsSaved(t *testing.T) {
	for name, others := range map[string][]string{
		"longer": {"c1", "x2", "x3", "x4", "x5", "x6"}, "shorter": {"c1", "x2"}, "level": {"x1", "x2", "x3"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
				f.wentOnUnseen(4, others...)
				f.goesOnElsewhere(4)
				if others[0] == "c1" {
					others = others[1:] // they part behind it
				}
				f.hasTail("us-1", others...)
			})
		})
	}
}

// TestWhatTheOthersHaveIsNoTail: a disk that went back and on which nothing was written since has nothing to save.
func TestWhatTheOthersHaveIsNoTail(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.wentOnUnseen(4)
		f.goesOnElsewhere(4)
		if tails, err := f.nodes["us-1"].Tails(f.t.Context()); err != nil || len(tails) != 0 {
			t.Errorf("%+v, %v", tails, err)
		}
	})
}

// TestWhoFollowedTheOtherHistorySavesItToo: ap, which wrote nothing of it.
func TestWhoFollowedTheOtherHistorySavesItToo(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.Isolate("ap-1")
		old := f.copyOf("us-1")
		for _, v := range values(1, 4) {
			f.put("us-1", v)
		}
		f.within(time.Minute, "eu-1 has it all", func() bool { return len(f.nodes["eu-1"].ledger.commands()) == 4 })
		f.kill("us-1")
		f.kill("eu-1")
		f.kill("ap-1")
		f.forget("eu-1", "ap-1")
		f.nodes["us-1"].disk = old
		f.start("ap-1")
		f.start("us-1")
		f.network.Reconnect("ap-1")
		f.put("us-1", "x1")
		f.put("us-1", "x2")
		f.within(time.Minute, "ap-1 follows", func() bool { return len(f.nodes["ap-1"].ledger.commands()) == 3 })
		f.kill("us-1")
		f.start("eu-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.start("us-1")
		f.put("ap-1", "c4")
		f.eventually(values(0, 5))
		f.hasTail("us-1", "x1", "x2")
		f.hasTail("ap-1", "x1", "x2")
	})
}

// TestAFencedPrimaryGoesOnByForce: the other region gives way, and what it alone has is saved.
func TestAFencedPrimaryGoesOnByForce(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.wentOnUnseen(4, "c1", "x2", "x3", "x4", "x5")
		if h := f.nodes["us-1"].Health(); !strings.Contains(h.Problem, "mimir failover --to us --force") {
			t.Errorf("says %q", h.Problem)
		}
		if err := f.nodes["us-1"].RegionFailover(f.t.Context()); err != nil {
			t.Fatal(err)
		}
		f.takesNothing("us-1")
		r, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(r.Warnings, "; "); r.From != "us" || !strings.Contains(text, "saves that as a tail") {
			t.Errorf("%+v", r)
		}
		f.put("us-1", "x6")
		f.eventually([]string{"c0", "c1", "x2", "x3", "x4", "x5", "x6"})
		f.hasTail("eu-1", "c2", "c3")
	})
}

// TestADivergedRegionGoesOnByForce: the region for which it gave up its history is gone before it could take a copy.
func TestADivergedRegionGoesOnByForce(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.cutOff("us", "eu-1")
		f.put("us-1", "c1")
		f.kill("us-1")
		f.network.HealAll()
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("eu-1", "lost")
		f.network.SetDelay("us-1", "eu-1", 300*time.Millisecond, 0)
		f.start("us-1")
		f.within(time.Minute, "us-1 has diverged", func() bool { return f.nodes["us-1"].Health().Role == "diverged" })
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true); !errors.Is(err, replication.ErrDiverged) {
			t.Errorf("while eu answers: %v", err)
		}
		f.kill("eu-1")
		f.within(time.Minute, "us-1 says so", func() bool {
			return strings.Contains(f.nodes["us-1"].Health().Problem, "mimir failover --to us --force")
		})
		r, err := f.nodes["us-1"].Failover(f.t.Context(), "us", true)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(r.Warnings, "; "); !strings.Contains(text, "do not replay that tail") || r.Behind != 1 {
			t.Errorf("%+v", r)
		}
		f.put("us-1", "c2")
		f.start("eu-1")
		f.eventually(values(0, 3))
		f.hasTail("eu-1", "lost")
		f.hasTail("us-1", "c1")
	})
}
