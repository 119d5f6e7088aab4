package standing

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestACeilingIsOfTheCharterInForce: where nothing may be lost none is asked of the voters, since further regions have
// what is acknowledged. When the charter asks for these no more, nothing is acknowledged, and nothing counts as
// settled, before the voters were asked for a ceiling; and likewise the other way round.
func TestACeilingIsOfTheCharterInForce(t *testing.T) {
	state := func(number, maxLoss uint64) timeline.State {
		return timeline.State{
			Region: "us", Cursor: timeline.Cursor{Epoch: 1, Position: 50},
			Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
			Ballot: &timeline.Ballot{Charter: timeline.Charter{
				Epoch: 1, Number: number, Lease: 3 * time.Second, MaxLoss: maxLoss,
				Voters: []timeline.Voter{{ID: "eu", Priority: 1}, {ID: "us", Priority: 1}, {ID: "witness/w"}},
			}},
		}
	}
	applied := region.NewApplied(&region.View{State: state(1, 0)}, elsewhere{})
	f := NewFence(clock.Real, applied)
	until := clock.Real.Elapsed() + time.Hour
	say := func(what string, wantRegions int, wantOK bool, wantTo timeline.Position) {
		t.Helper()
		if regions, ok := f.Admits(1, 40); regions != wantRegions || ok != wantOK {
			t.Errorf("%s: admitted in %d regions, %t; want %d, %t", what, regions, ok, wantRegions, wantOK)
		}
		to, regions, ok := f.Bound(applied.State())
		if to != wantTo || regions != wantRegions || !ok {
			t.Errorf("%s: settled up to %d in %d regions, %t; want %d, %d", what, to, regions, ok, wantTo, wantRegions)
		}
	}
	everywhere := timeline.Position(timeline.NoBound)
	kept := func(number uint64) ballot.Evidence {
		return ballot.Evidence{
			Epoch: 1, Until: until, Ceiling: everywhere, Lossless: true,
			Charter: timeline.Mark{Epoch: 1, Number: number},
		}
	}
	f.Grant(kept(1))
	say("nothing may be lost", 2, true, everywhere)
	applied.Publish(&region.View{State: state(2, 9)})
	say("nine may be, and no voter was asked", 1, false, 0)
	f.Grant(ballot.Evidence{Epoch: 1, Until: until, Ceiling: 45})
	say("nine may be", 1, true, 45)
	applied.Publish(&region.View{State: state(3, 0)})
	say("nothing may be, and no voter was asked", 2, false, 0)
	f.Grant(kept(3))
	say("nothing may be, and the voters keep that", 2, true, everywhere)
	applied.Publish(&region.View{State: state(4, 0)})
	say("by another charter, which nobody is known to keep", 2, false, 0)
	f.Grant(kept(4))
	say("by another charter, which they keep", 2, true, everywhere)
}
