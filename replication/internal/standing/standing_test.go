package standing

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// elsewhere is the leader, and a life that does not end.
type elsewhere struct{}

func (elsewhere) LeaderAddr() string       { return "us-2" }
func (elsewhere) Stopped() <-chan struct{} { return nil }
func (elsewhere) Failure() error           { return nil }

// TestOnlyTheHighestClaimEntitles: not another reign of the same region, be it of the same epoch.
func TestOnlyTheHighestClaimEntitles(t *testing.T) {
	own := timeline.Reign{Epoch: 1, First: 1, Primary: "us", Nonce: timeline.Nonce{1}}
	for _, c := range []struct {
		why   string
		heard timeline.Reign
		want  bool
	}{
		{"nothing else is known", timeline.Reign{}, true},
		{"its own", own, true},
		{"a lower one", timeline.Reign{Epoch: 1, First: 1, Primary: "us"}, true},
		{"of its former self, later", timeline.Reign{Epoch: 3, First: 9, Primary: "us"}, false},
		{"of its former self, the same epoch", timeline.Reign{Epoch: 1, First: 1, Primary: "us",
			Nonce: timeline.Nonce{2}}, false},
		{"of another region", timeline.Reign{Epoch: 2, First: 9, Primary: "eu"}, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				w := fleet.NewWatcher(fleet.Config{Regions: map[string][]string{"eu": {"eu-1"}}, Clock: clock.Real,
					Interval: time.Second, Timeout: time.Second,
					Ask: func(context.Context, string) (fleet.Report, error) {
						return fleet.Report{Region: "eu", Leader: true, Claim: c.heard}, nil
					}})
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { w.Run(ctx) })
				virtual.Wait()
				st := timeline.State{Region: "us", Reigns: []timeline.Reign{own}, Cursor: timeline.Cursor{Epoch: 1}}
				applied := region.NewApplied(&region.View{State: st}, elsewhere{})
				s := New("us", applied, &region.Leadership{}, w, elsewhere{}, nil)
				if s.Entitled(&st) != c.want || s.Primary() != c.want {
					t.Errorf("entitled %t, primary %t, want %t", s.Entitled(&st), s.Primary(), c.want)
				}
				if _, reigns, _ := s.MayWrite(0); reigns != c.want {
					t.Errorf("reigns %t, want %t", reigns, c.want)
				}
				// Of before the answer: what it has of this reign is not in the picture, though it was asked by now.
				unasked := fleet.View{Regions: map[string]fleet.Region{"eu": {}}}
				if _, reigns, _ := s.mayWrite(unasked, 0); reigns {
					t.Error("reigns by a picture that tells of no loss")
				}
				cancel()
				running.Wait()
			})
		})
	}
}
