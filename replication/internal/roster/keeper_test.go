package roster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestARegionThatWasJustAddedStays: an older word of its primary does not have it yet. It goes by what the leader of
// the primary says again while it serves it no stream, and by each roster anew.
func TestARegionThatWasJustAddedStays(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		reign := timeline.Reign{Epoch: 2, First: 1, Primary: "us"}
		s := timeline.State{Region: "ap", Cursor: at(2, 5), Reigns: []timeline.Reign{reign}}
		follows, ended := true, 0
		k := New(Config{
			Region: "ap", Configured: map[string][]string{"eu": {"eu-1"}, "us": {"us-1"}}, Clock: clock.Real,
			Applied:   region.NewApplied(&region.View{State: s}, life.New(clock.Real, nil)),
			Follows:   func() bool { return follows },
			OnRemoved: func(error) { ended++ },
		})
		gives := func(number uint64, from string, after time.Duration) bool {
			time.Sleep(after)
			k.Hear(fleet.Heard{At: clock.Real.Now(),
				Report: fleet.Report{Region: from, Leader: true, Roster: home(number)}})
			return k.gives(&s, k.heard)
		}
		if empty := (timeline.State{Region: "ap"}); k.gives(&empty, home(2)) {
			t.Error("who has nothing does not wait")
		}
		if gives(2, "us", 0) || gives(2, "us", time.Minute) {
			t.Error("who is served a stream goes")
		}
		follows = false
		if gives(2, "us", 0) || gives(2, "us", patience-1) {
			t.Error("who was served just now goes")
		}
		if gives(3, "eu", patience) {
			t.Error("who hears of it from who is not primary goes")
		}
		if !gives(3, "us", time.Second) || ended != 0 {
			t.Errorf("who hears from the primary that it was removed stays, or has ended: %d", ended)
		}
		if !gives(4, "us", patience) || ended != 0 { // the time that another roster waited says nothing of this one
			t.Errorf("the next roster is not agreed upon, or it has ended: %d", ended)
		}
		if gives(4, "us", patience) || ended != 1 {
			t.Errorf("a region that cannot agree has not ended: %d", ended)
		}
	})
}

// TestWhoHoldsWhatIsLostIsNotForgotten: it is by what was heard of it that the primary knows.
func TestWhoHoldsWhatIsLostIsNotForgotten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		reigns := []timeline.Reign{{Epoch: 2, First: 1, Primary: "us"}}
		ends := life.New(clock.Real, nil)
		a := region.NewApplied(&region.View{State: timeline.State{Region: "us", Cursor: at(2, 5), Reigns: reigns}},
			ends)
		w := fleet.NewWatcher(fleet.Config{
			Regions: map[string][]string{"ap": {"ap-1"}, "eu": {"eu-1"}}, Clock: clock.Real, Interval: time.Second,
			Timeout: time.Second,
			Ask: func(_ context.Context, addr string) (fleet.Report, error) {
				has := map[string]timeline.Position{"ap-1": 5, "eu-1": 7}[addr]
				return fleet.Report{Region: addr[:2], Node: addr, ID: 1, Leader: true, Cursor: at(2, has),
					Reigns: reigns}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		virtual.Wait()
		k := New(Config{Region: "us", Clock: clock.Real, Timeout: time.Second, Applied: a, Fleet: w,
			Standing: standing.New("us", a, nil, w, nil, nil)})
		if err := k.mayForget(ctx, "ap"); err != nil {
			t.Errorf("who has no more: %v", err)
		}
		err := k.mayForget(ctx, "eu")
		if !errors.Is(err, contract.ErrRejected) ||
			!strings.Contains(err.Error(), "eu-1 holds epoch 2 up to position 7") {
			t.Errorf("who has more: %v", err)
		}
		cancel()
		<-ended
	})
}
