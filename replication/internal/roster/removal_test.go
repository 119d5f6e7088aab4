package roster

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestATailIsJudgedByWhatTheRegionAgreedOn: a leader that applies late has lost nothing, and does not yet know whom a
// failover cut off.
func TestATailIsJudgedByWhatTheRegionAgreedOn(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us", Nonce: timeline.Nonce{1}}
	other := timeline.Reign{Epoch: 1, First: 1, Primary: "ap", Nonce: timeline.Nonce{1}}
	forced := timeline.Reign{Epoch: 2, First: 6, Primary: "eu", Lossy: true, Nonce: timeline.Nonce{2}}
	view := func(index uint64, c timeline.Cursor, reigns ...timeline.Reign) *region.View {
		return &region.View{Index: index, State: timeline.State{Region: "eu", Cursor: c, Reigns: reigns}}
	}
	for name, c := range map[string]struct {
		heard  fleet.Report
		now    *region.View
		later  *region.View // nil: there is none
		agreed agreedTo
		is     error
		says   string
	}{
		"applied late": {fleet.Report{Cursor: at(2, 9), Reigns: []timeline.Reign{first, forced}},
			view(1, at(2, 7), first, forced), view(2, at(2, 9), first, forced), 2, nil, ""},
		"nothing is late": {fleet.Report{Cursor: at(2, 9), Reigns: []timeline.Reign{first, forced}},
			view(1, at(2, 7), first, forced), nil, 1, contract.ErrRejected, "holds position 9 of epoch 2"},
		"it is not known": {fleet.Report{Cursor: at(2, 7), Reigns: []timeline.Reign{first, forced}},
			view(1, at(2, 7), first, forced), nil, -1, contract.ErrNotReady, "it is not known whether"},
		"cut off by what is late": {fleet.Report{Cursor: at(1, 5), Reigns: []timeline.Reign{first}},
			view(1, at(1, 5), first), view(2, at(2, 6), first, forced), 2, contract.ErrRejected,
			"was primary before epoch 2 of eu began by force"},
		"of which a node answers now that has nothing": {fleet.Report{Cursor: at(1, 9),
			Reigns: []timeline.Reign{other}}, view(1, at(2, 7), other, forced), nil, 1, contract.ErrRejected,
			"holds position 9 of epoch 1"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				c.heard.Region, c.heard.Node, c.heard.ID, c.heard.Leader = "us", "us-1", 1, true
				a := region.NewApplied(c.now, life.New(clock.Real, nil))
				var blank atomic.Bool
				w := fleet.NewWatcher(fleet.Config{
					Regions: map[string][]string{"us": {"us-1"}}, Clock: clock.Real, Interval: time.Second,
					Timeout: time.Second,
					Ask: func(context.Context, string) (fleet.Report, error) {
						if blank.Load() {
							return fleet.Report{Region: "us", Node: "us-2", ID: 2}, nil
						}
						return c.heard, nil
					},
				})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); w.Run(ctx) }()
				virtual.Wait()
				if blank.Store(strings.Contains(name, "has nothing")); blank.Load() {
					time.Sleep(1500 * time.Millisecond) // behind the next round
				}
				if c.later != nil {
					time.AfterFunc(time.Second/2, func() { a.Publish(c.later) })
				}
				k := New(Config{Region: "eu", Clock: clock.Real, Timeout: time.Second, Group: c.agreed, Applied: a,
					Fleet: w})
				err := k.losesTail(ctx, new(Change), Removal{Region: "us"})
				if !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %v: %s", err, c.is, c.says)
				}
				cancel()
				<-ended
			})
		})
	}
}
