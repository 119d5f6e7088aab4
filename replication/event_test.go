package replication_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// chronicle is what each node told.
type chronicle struct {
	mu   sync.Mutex
	told map[string][]replication.Event // by node
}

func (c *chronicle) of(config *replication.Config) {
	name := config.NodeID
	config.OnEvent = func(e replication.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.told == nil {
			c.told = map[string][]replication.Event{}
		}
		c.told[name] = append(c.told[name], e)
	}
}

// find returns the first event of a kind that a node told, nil if it told none.
func (c *chronicle) find(node string, kind replication.EventKind) *replication.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.told[node] {
		if e.Kind == kind {
			return &e
		}
	}
	return nil
}

// decided returns the identities that a node told, each once, in order. Of what it only learned nothing is said.
func (c *chronicle) decided(node string) (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.told[node] {
		if e.ID != "" && !e.Learned && !slices.Contains(list, e.ID) {
			list = append(list, e.ID)
		}
	}
	return list
}

// TestEveryNodeOfARegionTellsTheSame, over a switchover, a forced failover, a power cut and a rejoin.
func TestEveryNodeOfARegionTellsTheSame(t *testing.T) {
	var c chronicle
	shaped(t, map[string]int{"us": 3, "eu": 3}, c.of, func(f *testFleet) {
		f.put("us-1", "c0")
		for i, to := range []string{"eu", "us"} {
			if _, err := f.nodes["us-2"].Switchover(f.t.Context(), to); err != nil {
				t.Fatal(err)
			}
			f.put("us-1", fmt.Sprintf("c%d", i+1)) // who takes it knows who is primary
			f.eventually(values(0, i+2))
		}
		f.cutOff("us", f.regions["eu"]...)
		for i := range 5 {
			f.put("us-1", fmt.Sprintf("lost%d", i))
		}
		for _, n := range f.regions["us"] {
			f.kill(n)
		}
		f.network.HealAll()
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			t.Fatal(err)
		}
		f.put("eu-2", "c3")
		for _, n := range f.regions["us"] {
			f.start(n)
		}
		f.eventually(values(0, 4))
	})
	for region, want := range map[string][]string{
		"us": {"epoch", "sealed", "yielded", "epoch", "epoch", "yielded", "diverged", "installed"},
		"eu": {"epoch", "epoch", "sealed", "yielded", "epoch", "epoch"},
	} {
		first := c.decided(region + "-1")
		for _, node := range []string{region + "-2", region + "-3"} {
			if got := c.decided(node); !slices.Equal(got, first) {
				t.Errorf("%s told %q, %s-1 %q", node, got, region, first)
			}
		}
		var kinds []string
		for _, e := range c.told[region+"-1"] {
			if e.ID != "" && slices.Contains(first, e.ID) && !e.Learned {
				kinds = append(kinds, string(e.Kind))
				first = slices.DeleteFunc(first, func(id string) bool { return id == e.ID })
			}
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("%s told %q, want %q: %q", region, kinds, want, c.decided(region+"-1"))
		}
	}
	if e := c.find("us-1", replication.EventDiverged); e == nil || e.Tail != 5 || e.Other != "eu" {
		t.Errorf("diverged: %+v", e)
	}
}

// TestAFailoverByVotesSaysWhy: for how long the primary was silent, and what that cost at most.
func TestAFailoverByVotesSaysWhy(t *testing.T) {
	var c chronicle
	shape := func(config *replication.Config) {
		s := replication.DefaultVotes()
		config.Clock, config.Votes = clock.Unsuspended, &s
		c.of(config)
	}
	shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, shape, func(f *testFleet) {
		f.holds("us")
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.putAfter("eu-1", "c1")
	})
	var e *replication.Event
	for _, node := range []string{"eu-1", "ap-1"} {
		if found := c.find(node, replication.EventTookOver); found != nil {
			e = found
		}
	}
	if e == nil || e.Other != "us" || e.Silent < time.Second || e.Silent > time.Minute || e.AtMostLost == nil ||
		!e.Lossy {
		t.Errorf("took over: %+v", e)
	}
	for _, node := range []string{"eu-1", "ap-1"} {
		voted, charter := false, false // it may have voted for another before, who got no majority
		for _, v := range c.told[node] {
			voted = voted || v.Kind == replication.EventVote && v.ByItself && v.Other == e.Region && v.Epoch == e.Epoch
			charter = charter || v.Kind == replication.EventCharter && len(v.Charter.Voters) == 3
		}
		if !voted || !charter {
			t.Errorf("%s: voted for %+v: %v, charter: %v: %+v", node, e, voted, charter, c.told[node])
		}
	}
	if c.find("us-1", replication.EventUnfenced) == nil {
		t.Error("the primary does not say that it has a lease")
	}
}
