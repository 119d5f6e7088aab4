package delay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// house is eu, which follows us, and the log of its leader. It shows whole frames.
type house struct {
	t       *testing.T
	machine *timeline.Machine
	applied *region.Applied
	entries []*raftpb.Entry
	ends    []timeline.Position
	got     []region.Received
	takes   time.Duration // a control
	most    timeline.Position
}

func (h *house) Stopped() <-chan struct{} { return nil }
func (h *house) Failure() error           { return nil }

func (h *house) Control(_ context.Context, c *timeline.Control) (region.Outcome, error) {
	time.Sleep(h.takes)
	outcome, why, err := h.machine.Control(c)
	if c.Receipt != nil {
		h.got = append(slices.Clone(h.got), region.Received{Receipt: *c.Receipt})
	}
	before := h.applied.View().Shown.Position
	h.publish()
	h.most = max(h.most, h.applied.View().Shown.Position-before)
	return region.Outcome{Outcome: outcome, Why: why}, err
}

func (h *house) publish() {
	v := &region.View{State: h.machine.State(), Index: uint64(len(h.entries)), Receipts: h.got}
	if v.Shown = v.State.Cursor; v.State.Delay != nil {
		v.Shown.Position = 0
		for _, end := range h.ends {
			if end <= v.State.Delay.Shown {
				v.Shown.Position = end
			}
		}
	}
	h.applied.Publish(v)
}

func (h *house) append(payload []byte) {
	h.entries = append(h.entries, &raftpb.Entry{Index: new(uint64(len(h.entries) + 1)), Data: payload})
}

// comes adds frames of n commands each.
func (h *house) comes(frames, n int) {
	for range frames {
		c := h.machine.Cursor()
		f := timeline.Frame{Epoch: 1, First: c.Position + 1, Previous: c.Chain, Commands: make([]timeline.Command, n)}
		if o, why, err := h.machine.Frame(&f); o != timeline.Applied || err != nil {
			h.t.Fatal(why, err)
		}
		h.append(timeline.AppendFrame(nil, &f))
		h.ends = append(h.ends, f.Last())
	}
	h.publish()
}

func (h *house) Seek(timeline.Position) (uint64, error)           { return 1, nil }
func (h *house) FirstPosition() (p timeline.Position, ok bool)    { return 0, true }
func (h *house) Entries(lo, _, _ uint64) ([]*raftpb.Entry, error) { return h.entries[lo-1:], nil }

// housed gives body a Keeper that runs on the leader of eu, which is kept an hour late, and has begun to be.
func housed(t *testing.T, body func(h *house, k *Keeper)) {
	virtual.Test(t, func(t *testing.T) {
		h := &house{t: t, machine: timeline.NewMachine(&timeline.State{Region: "eu"})}
		h.applied = region.NewApplied(&region.View{State: timeline.State{Region: "eu"}}, h)
		r := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
		if o, why, err := h.machine.Reign(r); o != timeline.Applied || err != nil {
			t.Fatal(why, err)
		}
		h.append(timeline.AppendReign(nil, r))
		h.publish()
		leadership := &region.Leadership{}
		leadership.Set(1)
		k := New(Config{
			Region: "eu", Delay: time.Hour, Bytes: 1 << 40, Applied: h.applied, Leadership: leadership,
			Controls: h, Log: h,
			Clock: clock.Real, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second,
			Level:    func(context.Context) timeline.Level { return timeline.LevelDelay },
			Revision: func() int64 { return int64(h.applied.View().Shown.Position) },
		})
		if !k.ByOrderAlone() {
			t.Error("what is to be delayed becomes primary by itself before it is")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); k.Run(ctx) }()
		defer func() { cancel(); <-ended; virtual.Wait() }()
		h.passes(2 * time.Second)
		if h.applied.State().Delay == nil {
			t.Fatal("it is not delayed")
		}
		body(h, k)
	})
}

func (h *house) passes(d time.Duration) {
	time.Sleep(d)
	virtual.Wait()
}

// Everything is shown by steps, for as long as somebody waits for it.
func TestEverythingIsShownHoweverLongItTakes(t *testing.T) {
	housed(t, func(h *house, k *Keeper) {
		h.comes(40, 2_000)
		h.takes = 40 * time.Second
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Hour/2)
		defer cancel()
		c, err := k.ShowAll(ctx)
		if err != nil || c.Position != 80_000 || h.most > stride {
			h.t.Errorf("shows %d, %d at once: %v", c.Position, h.most, err)
		}
		h.takes = 0
	})
}

// A region that follows nobody shows nothing more: whoever waits for it is told so.
func TestNobodyWaitsForWhatIsNotShown(t *testing.T) {
	housed(t, func(h *house, k *Keeper) {
		h.comes(1, 1)
		v := *h.applied.View()
		v.State.Diverged = &timeline.Divergence{Claim: timeline.Reign{Epoch: 2, Primary: "us"}}
		h.applied.Publish(&v)
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
		defer cancel()
		if _, err := k.ShowAll(ctx); !errors.Is(err, contract.ErrNotReady) || ctx.Err() != nil {
			h.t.Error(err)
		}
	})
}

// A backlog that came of age at once is shown by steps, between which the region applies other things.
func TestABacklogIsShownBySteps(t *testing.T) {
	housed(t, func(h *house, k *Keeper) {
		h.comes(1, 50_000) // more than a step
		h.comes(30, 3_000)
		h.passes(time.Hour + 10*time.Second)
		if p := h.applied.View().Shown.Position; p != 140_000 || h.most > 50_000+stride {
			h.t.Errorf("shows %d, %d at once", p, h.most)
		}
	})
}

// Nothing is shown because of its age while somebody takes over at a place before it, and is a while after that.
func TestAPlaceIsHeldUntilTheOrderEnds(t *testing.T) {
	housed(t, func(h *house, k *Keeper) {
		h.comes(2, 5)
		h.passes(time.Hour - 10*time.Second)
		ctx, cancel := context.WithCancel(h.t.Context())
		defer cancel()
		if c, err := k.Find(ctx, contract.Point{Position: 3}); err != nil || c.Position != 3 {
			h.t.Fatal(c, err)
		}
		h.passes(10 * time.Minute)
		if p := h.applied.View().Shown.Position; p != 0 {
			h.t.Errorf("shows %d while it is ordered to begin at 3", p)
		}
		cancel()
		h.passes(heldFor + 2*time.Second)
		if p := h.applied.View().Shown.Position; p != 10 {
			h.t.Errorf("shows %d after that", p)
		}
	})
}

// A revision within a frame is found, and an earlier one in the same frame after that: nothing of the frame is shown.
func TestARevisionWithinAFrame(t *testing.T) {
	housed(t, func(h *house, k *Keeper) {
		h.comes(3, 10)
		for _, want := range []timeline.Position{15, 13, 19, 11, 20} {
			c, err := k.Find(h.t.Context(), contract.Point{Revision: int64(want)})
			s := h.applied.State()
			outcome, why := timeline.Would(s, timeline.Cut(s, c, timeline.Reign{Primary: "eu"}))
			if err != nil || c.Position != want || outcome != timeline.Applied {
				h.t.Errorf("revision %d: position %d, %v; a cut there: %s", want, c.Position, err, why)
			}
		}
	})
}
