package primary

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// never shows anything.
type never struct{}

func (never) Find(context.Context, contract.Point) (timeline.Cursor, error) {
	return timeline.Cursor{}, contract.ErrRejected
}
func (never) ShowAll(ctx context.Context) (timeline.Cursor, error) {
	<-ctx.Done()
	return timeline.Cursor{}, ctx.Err()
}

// A delayed region that diverged shows nothing before it goes on with its own history: a force does not wait for it.
func TestADelayedRegionThatDivergedIsForced(t *testing.T) {
	run(t, begun, refused, func(g *Governor, u *us) {
		s := *u.applied.State()
		s.Delay, s.Diverged = &timeline.Delay{}, &timeline.Divergence{Claim: timeline.Reign{Epoch: 2, Primary: "eu"}}
		u.applied.Publish(&region.View{State: s})
		g.config.Late = never{}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if at, err := (latecomer{g}).place(ctx, nil, &contract.MoveReport{}); at != nil || err != nil {
			t.Errorf("it begins at %+v: %v", at, err)
		}
	})
}

// A region that is to be kept delayed becomes primary by order alone, also while it is not delayed yet.
func TestARegionThatIsToBeDelayedIsGivenNothingBack(t *testing.T) {
	run(t, begun, refused, func(g *Governor, u *us) {
		u.mu.Lock()
		u.late = true
		u.mu.Unlock()
		for v, _ := g.config.Fleet.View(); v.Regions["eu"].Leader() == nil || !v.Regions["eu"].Leader().OrderOnly; {
			g.config.Fleet.Refresh()
			time.Sleep(10 * time.Millisecond)
			v, _ = g.config.Fleet.View()
		}
		if err := (Ballot{g}).GiveBack(context.Background(), "eu"); !errors.Is(err, contract.ErrDelayed) {
			t.Error(err)
		}
	})
}

// TestARegionTakesOverByItsName: an address of another may lead here.
func TestARegionTakesOverByItsName(t *testing.T) {
	g := &Governor{config: Config{Region: "eu"}}
	if _, err := forcedHere(t.Context(), g, moveRequest{To: "us", Force: true}); !errors.Is(err, contract.ErrRejected) {
		t.Errorf("an order about us came to eu: %v", err)
	}
}
