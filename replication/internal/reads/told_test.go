package reads

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Who was told by a node that he has written reads that there, stale as he reads: in the region of the primary, where
// it comes soon, and not where the node is cut off.
func TestWhatANodeToldItShows(t *testing.T) {
	at := viewAt
	for _, c := range []struct {
		name   string
		before *view
		after  *view // 100 ms later; nil: nothing comes
		took   time.Duration
		again  time.Duration // a second read
	}{
		{"it is there", at("us", 9), nil, 0, 0},
		{"it comes", at("us", 8), at("us", 9), 100 * time.Millisecond, 0},
		{"it does not come", at("us", 8), nil, toldWait, 0},
		{"a secondary", at("eu", 8), nil, 0, 0},
		{"a primary no more", at("us", 8), at("eu", 8), 100 * time.Millisecond, 0},
	} {
		virtual.Test(t, func(t *testing.T) {
			w := &told{applied: region.NewApplied(c.before, end{})}
			w.note(9)
			w.note(5)
			began := time.Now()
			if c.after != nil {
				time.AfterFunc(100*time.Millisecond, func() { w.applied.Publish(c.after) })
			}
			w.wait(t.Context())
			if took := time.Since(began); took != c.took {
				t.Errorf("%s: waits %v, want %v", c.name, took, c.took)
			}
			began = time.Now()
			w.wait(t.Context())
			if took := time.Since(began); took != c.again {
				t.Errorf("%s: the next one waits %v, want %v", c.name, took, c.again)
			}
		})
	}
	virtual.Test(t, func(t *testing.T) {
		w := &told{applied: region.NewApplied(viewAt("us", 8), end{})}
		w.note(9)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		if w.wait(ctx); time.Since(began) != 10*time.Millisecond {
			t.Errorf("waits %v, longer than its caller", time.Since(began))
		}
		if w.at.Load() != 9 {
			t.Error("nobody waits for it any more")
		}
	})
}

// A read that waits for what the node told ends with the node, and not as one that may go on.
func TestAReadThatWaitsForWhatWasToldEndsWithTheNode(t *testing.T) {
	pair(t, func(t *testing.T, us, _ *member) {
		us.Told(us.applied.State().Cursor.Position + 1)
		time.AfterFunc(100*time.Millisecond, func() { us.life.Close() })
		began := time.Now()
		err := us.Barrier(t.Context(), contract.Serializable)
		if took := time.Since(began); !errors.Is(err, contract.ErrClosed) || took != 100*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

type view = region.View

// viewAt is that of a region in the first reign, which is of us.
func viewAt(name string, p timeline.Position) *region.View {
	v := &region.View{State: timeline.State{Region: name}}
	v.State.Reigns = []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}}
	v.State.Cursor = timeline.Cursor{Epoch: 1, Position: p}
	return v
}
