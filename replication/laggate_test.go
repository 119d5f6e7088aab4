package replication_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestWritesAreHeldBackWhileOthersAreBehind: the only other region goes. Writes go on up to the first bound, then ever
// slower, and from the second bound on none is taken at any node, which is told at once and is no unknown outcome. Who
// opens the gate has it open. When the region is back, writes are taken again, and none of those refused is anywhere.
func TestWritesAreHeldBackWhileOthersAreBehind(t *testing.T) {
	limits := replication.LagGate{
		Delay:  replication.LagBound{Bytes: 100 << 10, Age: 10 * time.Second},
		Refuse: replication.LagBound{Bytes: 500 << 10, Age: time.Minute},
	}
	var open atomic.Bool
	gated := func(c *replication.Config) {
		c.LagGate = func() replication.LagGate {
			if open.Load() {
				return replication.LagGate{}
			}
			return limits
		}
	}
	shaped(t, map[string]int{"us": 3, "eu": 1}, gated, func(f *testFleet) {
		f.eventually(f.putMany("us-1", "before", 4))
		f.stop("eu-1")
		taken := 4
		try := func(node string) (took time.Duration, err error) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
			defer cancel()
			_, err = f.nodes[node].Propose(ctx, []*replication.Command{{Data: []byte(strings.Repeat("x", 10<<10))}})
			if err == nil {
				taken++
			}
			return time.Since(began), err
		}
		var slowest time.Duration
		wrote := 0
		for began := time.Now(); time.Since(began) < 2*time.Minute; wrote++ {
			took, err := try("us-1")
			if err != nil {
				if !errors.Is(err, replication.ErrLagging) || errors.Is(err, replication.ErrUnknownOutcome) ||
					!strings.Contains(err.Error(), "region eu is ") {
					f.t.Fatalf("after %d writes: %v", wrote, err)
				}
				break
			}
			slowest = max(slowest, took)
			time.Sleep(200 * time.Millisecond)
		}
		if wrote < 30 || wrote > 60 || slowest < 500*time.Millisecond || slowest > 2*time.Second {
			f.t.Errorf("refused after %d writes of 10 KiB, the slowest of which took %v", wrote, slowest)
		}
		for _, name := range f.regions["us"] { // forwarded, too
			if took, err := try(name); !errors.Is(err, replication.ErrLagging) || took > time.Second {
				f.t.Errorf("%s: %v after %v", name, err, took)
			}
			said := f.nodes[name].Fleet(f.t.Context()).Warnings
			if !slices.ContainsFunc(said, func(w string) bool {
				return strings.Contains(w, " refuses writes by its lag gate: region eu is ")
			}) {
				f.t.Errorf("%s warns of %q", name, said)
			}
		}
		open.Store(true)
		time.Sleep(time.Second)
		if took, err := try("us-2"); err != nil || took > time.Second {
			f.t.Errorf("open: %v after %v", err, took)
		}
		open.Store(false)
		time.Sleep(time.Second)
		if _, err := try("us-3"); !errors.Is(err, replication.ErrLagging) {
			f.t.Errorf("closed again: %v", err)
		}
		f.start("eu-1")
		f.within(time.Minute, "writes are taken again", func() bool { _, err := try("eu-1"); return err == nil })
		has := func() int { return len(f.nodes["us-1"].ledger.commands()) }
		f.within(time.Minute, "us-1 has what was taken", func() bool { return has() >= taken })
		f.eventually(f.nodes["us-1"].ledger.commands())
		if has() != taken {
			f.t.Errorf("%d commands, of %d that were taken", has(), taken)
		}
	})
}
