package primary

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAPrimaryThatAppliesLateNeedsNoForce: what another region has of what this leader has proposed is not lost, and a
// forced failover to a primary that is well answers that it is primary.
func TestAPrimaryThatAppliesLateNeedsNoForce(t *testing.T) {
	run(t, begun, refused, func(g *Governor, u *us) {
		const reached = timeline.Position(20)
		u.mu.Lock()
		u.reached = reached
		u.mu.Unlock()
		has := func() timeline.Position { return g.view().Fleet.Leaders["eu"].Cursor.Position }
		for deadline := time.Now().Add(time.Minute); has() < reached && time.Now().Before(deadline); {
			g.config.Fleet.Refresh()
			time.Sleep(10 * time.Millisecond)
		}
		if has() != reached {
			t.Fatalf("eu has position %d", has())
		}
		before := u.applied.State().Reigns
		if _, err := g.failOver(context.Background(), Force{Any: true}); !errors.Is(err, contract.ErrAlreadyPrimary) {
			t.Errorf("it is answered %v", err)
		}
		if now := u.applied.State().Reigns; len(now) != len(before) {
			t.Errorf("reigns: %v, before %v", now, before)
		}
	})
}
