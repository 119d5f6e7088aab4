package region

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// View is what this node has applied, hence what its region committed. It is never changed after it was published.
type View struct {
	State timeline.State
	Index uint64 // of the last entry applied
	Term  uint64 // of that entry
	Bytes uint64 // of history entries applied by this process
	// Shown is up to where the storage has the history: less than State.Cursor where the region shows it late.
	Shown      timeline.Cursor
	ShownIndex uint64 // the entry that led there
	// Receipts say when what is not shown yet came, and the last thing that is; none where nothing is late.
	Receipts []Received
}

// Shows returns the place of the history up to which a reader of the storage sees it.
func (v *View) Shows() timeline.Cursor {
	if v.State.Delay == nil {
		return v.State.Cursor
	}
	return v.Shown
}

// Received is a receipt, and how much of the history this process had applied then: of Bytes of a view.
type Received struct {
	timeline.Receipt
	Bytes uint64
}

// End tells when waiting is over for good.
type End interface {
	Stopped() <-chan struct{}
	Failure() error
}

// Applied holds the newest view and wakes whoever waits for a newer one. It is safe for concurrent use. Only the
// applier publishes.
type Applied struct {
	end      End
	replaced atomic.Uint64 // how often another state took the place of the storage's

	mu      sync.Mutex
	current *View
	handing timeline.Position // up to there the storage is given commands; zero: it is given none
	into    timeline.Reign    // in this reign, where it is given some
	wake    chan struct{}     // nil while nobody waits
}

// NewApplied returns a handle that shows v. Waits end with end.
func NewApplied(v *View, end End) *Applied { return &Applied{current: v, end: end} }

// View returns the newest view.
func (a *Applied) View() *View {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// State returns the state of the newest view, which must not be changed.
func (a *Applied) State() *timeline.State { return &a.View().State }

// Changed returns a channel that is closed when the view changes next. Take it before the view.
func (a *Applied) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wake == nil {
		a.wake = make(chan struct{})
	}
	return a.wake
}

// Hands says that the storage is about to have everything up to p, of which the reign in is the last: readers may see
// it before it is published. Only the applier calls it.
func (a *Applied) Hands(p timeline.Position, in timeline.Reign) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handing, a.into = p, in
}

// Replaces is Hands where another state takes the place of the one that the storage has.
func (a *Applied) Replaces(p timeline.Position, in timeline.Reign) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handing, a.into = p, in
	a.replaced.Add(1)
}

// Replaced returns how often that happened.
func (a *Applied) Replaced() uint64 { return a.replaced.Load() }

// Glimpse is what a reader of the storage may have seen before: everything up to its Place. If Replaced was the same
// before he read, and what he saw is not GivenUp by now, all of that is in the history of this place.
type Glimpse struct {
	Place
	Replaced uint64
	GivenUp  bool
}

// Seen returns the glimpse of who has read before the call.
func (a *Applied) Seen() Glimpse {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := Glimpse{PlaceOf(&a.current.State), a.replaced.Load(), a.current.State.Diverged != nil}
	g.Position = max(a.current.Shows().Position, a.handing)
	if in := a.into; a.handing != 0 && in.Epoch > g.Reign.Epoch { // it has begun in the middle of what is handed over
		g.Epoch, g.Reign = in.Epoch, &in
	}
	return g
}

// Publish makes v the newest view. Only the applier calls it, in order.
func (a *Applied) Publish(v *View) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current, a.handing = v, 0
	if a.wake != nil {
		close(a.wake)
		a.wake = nil
	}
}

// Wait returns the first view that ok likes. Errors: ErrNotReady when ctx ends first, and what ended the node.
func (a *Applied) Wait(ctx context.Context, ok func(*View) bool) (*View, error) {
	for {
		changed := a.Changed()
		v := a.View()
		if ok(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, fmt.Errorf("%w: %w", contract.ErrNotReady, contract.Ended(ctx))
		case <-a.end.Stopped():
			return v, a.end.Failure()
		}
	}
}

// Place is a place in the history of one reign. It travels as JSON: never change a name.
type Place struct {
	timeline.Cursor
	// Reign is the last one of the history; nil from a node that does not tell.
	Reign *timeline.Reign `json:"reign,omitempty"`
}

// PlaceOf returns the place of s.
func PlaceOf(s *timeline.State) Place {
	last := timeline.Latest(s.Reigns)
	return Place{Cursor: s.Cursor, Reign: &last}
}

// within reports whether a region in the state s has everything up to p. A position and an epoch tell that only within
// one history: a region that is about to give way may be further, and has something else.
func (p Place) within(s *timeline.State) bool {
	return p.held(s) && s.Diverged == nil && s.Cursor.Position >= p.Position && s.Cursor.Epoch >= p.Epoch
}

func (p Place) held(s *timeline.State) bool {
	return p.Reign == nil || slices.Contains(s.Reigns, *p.Reign)
}

// Reach returns once everything up to p is applied here and shown. Errors as of Wait; ErrNotReady at once if the
// history here has gone on without p, which was cut off.
func (a *Applied) Reach(ctx context.Context, p Place) error {
	gone := func(s *timeline.State) bool { return s.Diverged == nil && s.Cursor.Epoch > p.Epoch && !p.held(s) }
	shown := func(v *View) bool { return p.within(&v.State) && v.Shows().Position >= p.Position }
	v, err := a.Wait(ctx, func(v *View) bool { return shown(v) || gone(&v.State) })
	s := &v.State
	if err == nil && shown(v) {
		return nil
	}
	if err == nil {
		err = contract.ErrNotReady
	}
	return fmt.Errorf("region %s is %s at position %d of epoch %d, and waits for position %d of epoch %d: %w", s.Region,
		s.Role(), s.Cursor.Position, s.Cursor.Epoch, p.Position, p.Epoch, err)
}
