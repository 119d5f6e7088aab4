package reads

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAForkIsNoAnswer: a region that holds something else at the place that was confirmed waits until it has rejoined,
// whatever its position and its epoch; and one whose history has gone on without that place asks anew.
func TestAForkIsNoAnswer(t *testing.T) {
	fork := func(index uint64, epoch timeline.Epoch, diverged bool) *region.View {
		v := at("eu", index, 9)
		own := timeline.Reign{Epoch: epoch, First: 1, Primary: "eu", Nonce: timeline.Nonce{1}}
		v.State.Reigns, v.State.Cursor.Epoch = []timeline.Reign{own}, epoch
		if diverged {
			v.State.Diverged = &timeline.Divergence{At: 9}
		}
		return v
	}
	for _, c := range []struct {
		why string
		has *region.View
	}{
		{"of the same epoch", fork(6, 1, false)},
		{"of a later epoch", fork(6, 2, false)},
		{"known to be one", fork(6, 1, true)},
	} {
		t.Run(c.why, func(t *testing.T) {
			pair(t, func(t *testing.T, us, eu *member) {
				us.applied.Publish(at("us", 9, 8))
				eu.applied.Publish(c.has)
				done := eu.read()
				time.Sleep(time.Second)
				pending(t, done)
				eu.applied.Publish(at("eu", 41, 8))
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestAPlaceOfAnOlderNode tells no reign. It is compared as it was, but never by a region that knows itself diverged.
func TestAPlaceOfAnOlderNode(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		old := region.Place{Cursor: timeline.Cursor{Epoch: 1, Position: 3}}
		if err := eu.config.Applied.Reach(ended(t), old); err != nil {
			t.Error(err)
		}
		v := at("eu", 6, 3)
		v.State.Diverged = &timeline.Divergence{At: 3}
		eu.applied.Publish(v)
		if err := eu.config.Applied.Reach(ended(t), old); !errors.Is(err, contract.ErrNotReady) {
			t.Error(err)
		}
	})
}

// TestPlacesAreReadByOlderNodes, and theirs here.
func TestPlacesAreReadByOlderNodes(t *testing.T) {
	want := region.PlaceOf(&at("us", 5, 3).State)
	encoded, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var old timeline.Cursor
	if err := json.Unmarshal(encoded, &old); err != nil || old != want.Cursor {
		t.Errorf("an older node reads %s as %+v, %v", encoded, old, err)
	}
	if encoded, err = json.Marshal(old); err != nil {
		t.Fatal(err)
	}
	var place region.Place
	if err := json.Unmarshal(encoded, &place); err != nil || place.Cursor != old || place.Reign != nil {
		t.Errorf("%s of an older node is %+v, %v", encoded, place, err)
	}
}

// TestARegionThatIsDelayedMeanwhile has in its log what a read waits for, and does not show it: the read ends as one
// that came later.
func TestARegionThatIsDelayedMeanwhile(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.applied.Publish(at("us", 9, 8))
		done := eu.read()
		time.Sleep(time.Second)
		pending(t, done)
		v := at("eu", 9, 8)
		v.State.Delay = &timeline.Delay{Shown: 3}
		v.Shown = timeline.Cursor{Epoch: v.State.Cursor.Epoch, Position: 3}
		eu.applied.Publish(v)
		if err := <-done; !errors.Is(err, contract.ErrDelayed) {
			t.Errorf("a read of what is not shown ended with %v", err)
		}
	})
}

// TestAWriteIsWaitedForInItsHistory: a position that another reign wrote is not it, and who hears that it was cut off
// waits no longer.
func TestAWriteIsWaitedForInItsHistory(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		first := at("us", 5, 3).State.Reigns[0]
		us.applied.Publish(at("us", 9, 8))
		if err := us.WaitWrite(t.Context(), 1, 8); err != nil {
			t.Errorf("it is applied: %v", err)
		}
		if err := us.WaitWrite(ended(t), 1, 9); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("time is over: %v", err)
		}

		lossy := timeline.Reign{Epoch: 2, First: 6, Primary: "eu", Lossy: true}
		forced := at("eu", 9, 8)
		forced.State.Reigns = []timeline.Reign{first, lossy}
		forced.State.Cursor.Epoch = 2
		done := make(chan error, 1)
		go func() { done <- eu.WaitWrite(t.Context(), 1, 6) }()
		pending(t, done)
		eu.applied.Publish(forced)
		if err := <-done; !errors.Is(err, contract.ErrDiverged) {
			t.Errorf("it was cut off: %v", err)
		}
		for p, want := range map[contract.Position]error{5: nil, 6: contract.ErrDiverged, 8: contract.ErrDiverged} {
			if err := eu.WaitWrite(t.Context(), 1, p); !errors.Is(err, want) {
				t.Errorf("position %d of epoch 1: %v", p, err)
			}
		}
		if err := eu.WaitWrite(t.Context(), 2, 8); err != nil {
			t.Errorf("of the reign that goes on: %v", err)
		}

		us.set(func() { us.claim = lossy })
		if err := us.WaitWrite(t.Context(), 1, 6); !errors.Is(err, contract.ErrDiverged) {
			t.Errorf("another history is known to be the fleet's: %v", err)
		}
		parted := at("us", 9, 8)
		parted.State.Diverged = &timeline.Divergence{Fork: 5, At: 8, Claim: lossy}
		us.set(func() { us.claim = timeline.Reign{} })
		us.applied.Publish(parted)
		if err := us.WaitWrite(t.Context(), 1, 6); !errors.Is(err, contract.ErrDiverged) {
			t.Errorf("the region gives it up: %v", err)
		}
		go func() { done <- us.WaitWrite(t.Context(), 2, 8) }()
		pending(t, done)
		us.applied.Publish(forced)
		if err := <-done; err != nil {
			t.Errorf("the region has rejoined: %v", err)
		}
		go func() { done <- us.WaitWrite(t.Context(), 2, 99) }()
		pending(t, done)
		us.life.Close()
		if err := <-done; !errors.Is(err, contract.ErrClosed) {
			t.Errorf("the node stops: %v", err)
		}
	})
}
