package replication_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// TestATenureOutlastsItsCeiling: while writes wait because no more may be lost, who keeps leases, or whatever else is
// done by the primary's leader alone, is not told that it is over, again and again. What was decided then is written.
func TestATenureOutlastsItsCeiling(t *testing.T) {
	var told atomic.Int64
	shape := func(c *replication.Config) {
		s := replication.DefaultVotes()
		s.MaxLoss, s.Witnesses = 3, map[string][]string{"w1": {"w1"}}
		c.Clock, c.Votes = clock.Unsuspended, &s
		if c.RegionID == "us" {
			c.OnLeadership = func(bool) { told.Add(1) }
		}
	}
	shaped(t, map[string]int{"us": 1, "eu": 1}, shape, func(f *testFleet) {
		s := &smallest{f, freshDisk(), nil}
		s.startWitness()
		defer func() { s.witness.Shutdown() }()
		f.holds("us")
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.network.SetDelay("us-1", "eu-1", 50*time.Millisecond, 0)
		_, tenure := f.inTenure("us-1")
		before := told.Load()
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				commands := []*replication.Command{{Data: fmt.Appendf(nil, "d%d", i)}}
				var o []replication.ProposeOption
				if i%3 == 0 {
					o = append(o, replication.WithinTenure(tenure))
				}
				if _, err := f.nodes["us-1"].Propose(ctx, commands, o...); err != nil &&
					!errors.Is(err, replication.ErrUnderReplicated) {
					f.t.Errorf("write %d, bound to the tenure %t: %v", i, o != nil, err)
				}
			})
		}
		all.Wait()
		if n := told.Load() - before; n != 0 || f.nodes["us-1"].Tenure() != tenure {
			f.t.Errorf("told %d times meanwhile; tenure %+v, was %+v", n, f.nodes["us-1"].Tenure(), tenure)
		}
	})
}
