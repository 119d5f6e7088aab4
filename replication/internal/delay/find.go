package delay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// releasedFor is for how long a region goes on to show everything once nobody waits for it: a move takes less.
	releasedFor = time.Minute
	// heldFor is for how long nothing more is shown because of its age once an order to begin at a place has ended:
	// what it began may go on, or it is given again.
	heldFor = time.Minute
)

// ShowAll has the region show everything that it has, and all that comes for a minute after it in this epoch, and
// returns once it does. On a node that does not lead its region it is ErrNotLeader. ErrNotReady: it did not come so far
// before ctx ended, or follows nobody.
func (k *Keeper) ShowAll(ctx context.Context) (timeline.Cursor, error) {
	if !k.config.Leadership.Leads() {
		return timeline.Cursor{}, contract.ErrNotLeader
	}
	at := k.config.Applied.State().Cursor
	defer k.release(at.Epoch)()
	k.wake.Nudge()
	to, leads := at.Position, k.config.Leadership.Leads
	v, err := k.config.Applied.Wait(ctx, func(v *region.View) bool {
		return v.Shown.Position >= to || v.State.Role() != timeline.Secondary || !leads()
	})
	switch {
	case err != nil || v.Shown.Position >= to:
	case !leads():
		err = contract.ErrNotLeader
	default:
		err = fmt.Errorf("%w: the region is %s", contract.ErrNotReady, v.State.Role())
	}
	if err != nil {
		err = fmt.Errorf("region %s shows up to position %d by now, of %d: %w", k.config.Region, v.Shown.Position, to,
			err)
	}
	return v.Shown, err
}

// release has everything shown until done was called, and for a while after that in the epoch e.
func (k *Keeper) release(e timeline.Epoch) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.waiting--
		k.released, k.until = k.config.Clock.Now().Add(releasedFor), e
	}
}

// hold has nothing more shown until ctx ends, and for a while after that.
func (k *Keeper) hold(ctx context.Context) {
	k.mu.Lock()
	k.orders, k.released = k.orders+1, time.Time{}
	k.mu.Unlock()
	context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.orders--
		k.held = k.config.Clock.Now().Add(heldFor)
	})
}

// Find returns the place of a point in what the region has and does not show, or of where what it shows ends. Until ctx
// ends nothing that comes behind it is shown. Errors: ErrRejected if the point is elsewhere, ErrArgument if it makes no
// sense.
func (k *Keeper) Find(ctx context.Context, p contract.Point) (timeline.Cursor, error) {
	v := k.config.Applied.View()
	if v.State.Delay == nil {
		return timeline.Cursor{}, fmt.Errorf("%w: region %s is not delayed: all that it has, up to position %d, is "+
			"applied and cannot be taken back", contract.ErrRejected, k.config.Region, v.State.Cursor.Position)
	}
	k.hold(ctx)
	switch {
	case p.Revision != 0:
		return k.atRevision(ctx, p.Revision)
	case !p.Time.IsZero():
		return k.atTime(k.config.Applied.View(), p.Time)
	default:
		return k.atPosition(k.config.Applied.View(), p.Position)
	}
}

// shows says up to where the region shows its history, for people.
func (k *Keeper) shows(v *region.View) string {
	text := fmt.Sprintf("region %s shows its history up to position %d", k.config.Region, v.Shown.Position)
	if t := Shows(v); !t.IsZero() {
		text += ", of " + t.UTC().Format(time.RFC3339)
	}
	return text + ", and what is shown cannot be taken back"
}

func (k *Keeper) atPosition(v *region.View, p timeline.Position) (timeline.Cursor, error) {
	d := v.State.Delay
	switch {
	case p < max(d.Shown, v.Shown.Position):
		return timeline.Cursor{}, fmt.Errorf("%w: position %d: %s", contract.ErrRejected, p, k.shows(v))
	case p > v.State.Cursor.Position:
		return timeline.Cursor{}, fmt.Errorf("%w: position %d: region %s has its history up to position %d",
			contract.ErrRejected, p, k.config.Region, v.State.Cursor.Position)
	}
	return k.trace(v, p)
}

func (k *Keeper) atTime(v *region.View, t time.Time) (timeline.Cursor, error) {
	if t.After(k.config.Clock.Now()) {
		return timeline.Cursor{}, fmt.Errorf("%w: %s is in the future", contract.ErrArgument, t.Format(time.RFC3339))
	}
	p, known := at(v, t)
	if shown := Shows(v); !shown.IsZero() && !t.Before(shown) {
		p, known = max(p, v.State.Delay.Shown), true // what came next is not known, or later
	}
	if !known || p < v.State.Delay.Shown {
		return timeline.Cursor{}, fmt.Errorf("%w: %s: %s", contract.ErrRejected, t.Format(time.RFC3339Nano),
			k.shows(v))
	}
	return k.trace(v, max(p, v.Shown.Position))
}

// atRevision shows the history up to a revision, or to where the frame begins in which that is: a command raises it by
// one at most, so that as many commands as revisions are missing do not go beyond it.
func (k *Keeper) atRevision(ctx context.Context, want int64) (timeline.Cursor, error) {
	if k.config.Revision == nil {
		return timeline.Cursor{}, fmt.Errorf("%w: revisions are not known here", contract.ErrArgument)
	}
	for {
		v := k.config.Applied.View()
		now := k.config.Revision()
		switch {
		case v.State.Delay == nil:
			return timeline.Cursor{}, fmt.Errorf("%w: region %s is not delayed any more", contract.ErrRejected,
				k.config.Region)
		case now > want:
			return timeline.Cursor{}, fmt.Errorf("%w: revision %d: region %s shows revision %d; %s",
				contract.ErrRejected, want, k.config.Region, now, k.shows(v))
		case now == want:
			return k.trace(v, v.Shown.Position)
		case now+reach(v) < want:
			return timeline.Cursor{}, fmt.Errorf("%w: revision %d: region %s shows revision %d, and has %d commands "+
				"behind that", contract.ErrRejected, want, k.config.Region, now,
				v.State.Cursor.Position-v.Shown.Position)
		}
		to := v.State.Cursor.Position
		if missing := timeline.Position(want - now); missing < to-v.Shown.Position {
			to = v.Shown.Position + missing
		}
		for _, r := range v.State.Reigns {
			if r.First > v.Shown.Position+1 && r.First-1 < to {
				to = r.First - 1 // the reign may raise it by more
			}
		}
		within := to
		to, err := k.lastEnd(v, min(to, v.Shown.Position+stride))
		if err != nil {
			return timeline.Cursor{}, err
		}
		if to == v.Shown.Position { // nothing of that frame is shown: another try may ask for an earlier place in it
			return k.trace(v, within)
		}
		o, err := k.config.Controls.Control(ctx, &timeline.Control{
			Op: timeline.OpDelay, Shown: max(to, v.State.Delay.Shown), Of: of(v, to, k.config.Clock.Now().UTC()),
		})
		if err != nil {
			return timeline.Cursor{}, fmt.Errorf("show the history up to position %d: %w", to, err)
		}
		if o.Outcome != timeline.Applied {
			return timeline.Cursor{}, fmt.Errorf("%w: show the history up to position %d: %s", contract.ErrRejected, to,
				o.Why)
		}
	}
}

// lastEnd returns where the last whole frame ends that the region has and that does not go beyond to; where what it
// shows ends, if it shows that.
func (k *Keeper) lastEnd(v *region.View, to timeline.Position) (timeline.Position, error) {
	p := v.Shown.Position
	next := tail.History(k.config.Log, v.State.Reigns, p, v.State.Cursor.Position, v.Index+1)
	for p < to {
		payload, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, fmt.Errorf("find a frame that ends before position %d in the log: %w", to, err)
		}
		if h, _ := timeline.ReadHeader(payload); h.Kind == timeline.KindFrame {
			if h.Last() > to {
				break
			}
			p = h.Last()
		}
	}
	return p, nil
}

// reach returns by how much what is not shown raises the revision at most: where a reign begins in it, by any number.
func reach(v *region.View) int64 {
	if n := v.State.Cursor.Position - v.Shown.Position; n == 0 || v.State.Cursor.Epoch == v.Shown.Epoch {
		return int64(n)
	}
	return math.MaxInt64 / 2
}

// trace returns the place of a position that the region has, by what its log has between what is shown and that.
func (k *Keeper) trace(v *region.View, p timeline.Position) (timeline.Cursor, error) {
	c, s, folder := v.Shown, &v.State, timeline.NewFolder()
	next := tail.History(k.config.Log, s.Reigns, c.Position, s.Cursor.Position, v.Index+1)
	end := timeline.Latest(timeline.UpTo(s.Reigns, p)).Epoch
	for c.Position < p || c.Epoch < end {
		payload, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, fmt.Errorf("find position %d in the log: %w", p, err)
		}
		if h, _ := timeline.ReadHeader(payload); h.Kind == timeline.KindReign {
			r, err := timeline.DecodeReign(payload)
			if err != nil {
				return c, err
			}
			if r.Epoch > c.Epoch {
				c.Chain, c.Epoch = folder.Reign(c.Chain, r), r.Epoch
			}
			continue
		}
		var f timeline.Frame
		if err := timeline.DecodeFrame(payload, &f); err != nil {
			return c, err
		}
		f.Commands = f.Commands[:min(len(f.Commands), int(p-c.Position))]
		c.Chain, c.Position = folder.Frame(&f), f.Last()
	}
	if c.Position != p || c.Epoch != end {
		return c, fmt.Errorf("%w: the log of region %s leads to position %d of epoch %d, and not to %d of %d",
			contract.ErrNotReady, s.Region, c.Position, c.Epoch, p, end)
	}
	return c, nil
}
