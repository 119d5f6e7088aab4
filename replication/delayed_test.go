package replication_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// late is how late eu is in these tests.
const late = 20 * time.Second

// delayed is a fleet of which eu is kept delayed, with c0 to c9 written and stored there, one a second.
func delayed(t *testing.T, nodes int, body func(f *testFleet)) {
	shape := func(c *replication.Config) {
		if c.RegionID == "eu" {
			c.ApplyDelay = late
		}
	}
	shaped(t, map[string]int{"us": 1, "eu": nodes}, shape, func(f *testFleet) {
		f.until("eu is delayed", func() bool { return f.nodes["eu-1"].Health().Late != nil })
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
			time.Sleep(200 * time.Millisecond)
		}
		f.stored(10)
		body(f)
	})
}

// stored waits until every node of eu has what is at a position.
func (f *testFleet) stored(p replication.Position) {
	f.t.Helper()
	f.until("eu has it", func() bool {
		return !slices.ContainsFunc(f.regions["eu"], func(n string) bool { return f.nodes[n].Health().Position != p })
	})
}

// shown waits until every node of eu shows just these commands.
func (f *testFleet) shown(want []string) {
	f.t.Helper()
	f.until(fmt.Sprintf("eu shows %q", want), func() bool {
		return !slices.ContainsFunc(f.regions["eu"], func(n string) bool {
			return !slices.Equal(f.nodes[n].ledger.commands(), want)
		})
	})
}

// A delayed region stores at once, counts for what is durable, and shows what is old enough, over restarts; who asks it
// for news is told at once that there are none.
func TestADelayedRegionShowsWhatIsOld(t *testing.T) {
	delayed(t, 3, func(f *testFleet) {
		ctx := f.t.Context()
		f.shown(nil)
		if _, err := f.nodes["us-1"].Propose(ctx, []*replication.Command{{Data: []byte("c10")}},
			replication.WithRegions(2)); err != nil {
			f.t.Errorf("durable in two regions: %v", err)
		}
		began := time.Now()
		if err := f.nodes["eu-2"].ReadBarrier(ctx, replication.Linearizable); !errors.Is(err, replication.ErrDelayed) ||
			time.Since(began) > time.Second {
			f.t.Errorf("a linearizable read: %v after %v", err, time.Since(began))
		}
		if err := f.nodes["eu-2"].ReadBarrier(ctx, replication.Serializable); err != nil {
			f.t.Errorf("a serializable read: %v", err)
		}
		for _, r := range f.nodes["us-1"].Fleet(ctx).Regions {
			if r.Name == "eu" && (r.Late == nil || r.Late.DelaySeconds != late.Seconds() || r.Lag.Commands != 0) {
				f.t.Errorf("eu is late %+v, and lags %+v", r.Late, r.Lag)
			}
		}
		for _, n := range f.regions["eu"] {
			f.kill(n)
		}
		for _, n := range f.regions["eu"] {
			f.start(n)
		}
		f.stored(11)
		f.shown(nil)
		time.Sleep(late - 5*time.Second)
		f.until("c0 is shown, and not all", func() bool {
			n := len(f.nodes["eu-3"].ledger.commands())
			return n > 0 && n < 10
		})
		f.shown(values(0, 11))
	})
}

// A delayed region shows everything before it becomes primary by a switchover, and is delayed again after it.
func TestASwitchoverToADelayedRegion(t *testing.T) {
	delayed(t, 3, func(f *testFleet) {
		r, err := f.nodes["eu-1"].Switchover(f.t.Context(), "eu")
		if err != nil || len(r.Warnings) == 0 || r.Pause > time.Second {
			f.t.Fatalf("%+v, %v", r, err)
		}
		f.put("us-1", "c10")
		f.eventually(values(0, 11))
		f.kill("eu-3")
		if r, err := f.nodes["us-1"].Switchover(f.t.Context(), "us"); err != nil {
			f.t.Fatalf("%+v, %v", r, err)
		}
		time.Sleep(5 * time.Second)
		if f.nodes["eu-1"].Health().Late != nil {
			f.t.Error("delayed beside a node that may be too old to understand it")
		}
		f.start("eu-3")
		f.until("eu is delayed", func() bool { return f.nodes["eu-1"].Health().Late != nil })
		f.put("us-1", "c11")
		f.stored(12)
		time.Sleep(late / 2)
		f.shown(values(0, 11))
		f.eventually(values(0, 12))
	})
}

// Somebody deletes everything: a failover begins before that, at a position or a time, and what came behind it is in
// rescue files on all nodes.
func TestAFailoverToThePast(t *testing.T) {
	for nodes, at := range map[int]func(written time.Time) replication.Point{
		3: func(time.Time) replication.Point { return replication.Point{Position: 10} },
		1: func(written time.Time) replication.Point { return replication.Point{Time: written} },
	} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			delayed(t, nodes, func(f *testFleet) {
				time.Sleep(2 * time.Second)
				written := time.Now()
				time.Sleep(2 * time.Second)
				f.put("us-1", "deletes everything")
				f.put("us-1", "and more")
				f.stored(12)
				for p, want := range map[replication.Point]error{
					{Position: 13}:                     replication.ErrRejected,
					{Time: time.Now().Add(-time.Hour)}: replication.ErrRejected,
					{Time: time.Now().Add(time.Hour)}:  replication.ErrArgument,
					{Position: 3, Revision: 4}:         replication.ErrArgument,
				} {
					if _, err := f.nodes["us-1"].FailoverAt(f.t.Context(), "eu", p); !errors.Is(err, want) {
						f.t.Errorf("at %+v: %v", p, err)
					}
				}
				r, err := f.nodes["us-1"].FailoverAt(f.t.Context(), "eu", at(written))
				if err != nil || r.Position != 10 || r.Behind != 2 {
					f.t.Fatalf("%+v, %v", r, err)
				}
				f.until("us gives way", func() bool {
					h := f.nodes["us-1"].Health()
					return h.Role == replication.RoleSecondary && h.Epoch == r.Epoch
				})
				f.put("eu-1", "c10")
				f.eventually(values(0, 11))
				for _, n := range f.names() {
					tails, err := f.nodes[n].Tails(f.t.Context())
					if err != nil || len(tails) != 1 || tails[0].Fork != 10 || tails[0].Commands != 2 {
						f.t.Errorf("%s: tails %+v, %v", n, tails, err)
					}
				}
			})
		})
	}
	delayed(t, 1, func(f *testFleet) {
		f.shown(values(0, 10))
		if _, err := f.nodes["us-1"].FailoverAt(f.t.Context(), "eu", replication.Point{Position: 5}); !errors.Is(err,
			replication.ErrRejected) {
			f.t.Errorf("at what is shown: %v", err)
		}
		if _, err := f.nodes["us-1"].Failover(f.t.Context(), "eu", true); err != nil {
			f.t.Errorf("at its last position: %v", err)
		}
	})
}

// A recovery of a delayed region ends its history where it was ordered, however long the leases are that it waits for;
// without a point it shows everything first.
func TestARecoveryOfADelayedRegion(t *testing.T) {
	for want, at := range map[int]*replication.Point{5: {Position: 5}, 10: nil} {
		t.Run(fmt.Sprint(want), func(t *testing.T) { recovers(t, want, at) })
	}
}

func recovers(t *testing.T, want int, at *replication.Point) {
	shape := func(c *replication.Config) {
		s := replication.DefaultVotes()
		s.Lease = 90 * time.Second
		c.Clock, c.Votes = clock.Unsuspended, &s
		if c.RegionID == "eu" {
			c.ApplyDelay = late
		}
	}
	shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, shape, func(f *testFleet) {
		f.holds("us")
		f.until("eu is delayed", func() bool { return f.nodes["eu-1"].Health().Late != nil })
		if notes := f.nodes["us-1"].Fleet(f.t.Context()).Notes; !slices.ContainsFunc(notes, func(n string) bool {
			return strings.Contains(n, "a failover needs the vote of eu, which is kept delayed")
		}) {
			f.t.Errorf("notes %q", notes)
		}
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.stored(10)
		f.kill("us-1")
		f.kill("ap-1")
		var err error
		if at == nil {
			_, err = f.nodes["eu-1"].Voting().Recover(f.t.Context(), "eu")
		} else {
			_, err = f.nodes["eu-1"].Voting().RecoverAt(f.t.Context(), "eu", *at)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.put("eu-1", "last")
		f.shown(append(values(0, want), "last"))
	})
}
