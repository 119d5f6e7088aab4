package reads

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// retryEvery is how long a read that could not be confirmed waits before it tries again.
	retryEvery = 20 * time.Millisecond
	// arrivalTimeout is how long a confirmed place may take to arrive at a secondary before it is asked for anew.
	arrivalTimeout = 30 * time.Second
)

// Group is the region's log.
type Group interface {
	// ReadIndex returns a point at or after everything that the region acknowledged before the call.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Standing is what this node knows of who is primary.
type Standing interface {
	Primary() bool
	// Confirms reports whether this node may be able to confirm reads by itself.
	Confirms() bool
	Route() standing.Route
	// Claim returns the reign that outranks all others which are known here.
	Claim() timeline.Reign
	Entitled(s *timeline.State) bool
	// Loss returns what the region in this state is known to have lost of its own reign, nil if nothing is.
	// The picture of the fleet was taken before.
	Loss(v fleet.View, s *timeline.State, reached timeline.Position) *standing.Loss
}

// Fleet is what was heard of the other regions, and can be asked for news of who is primary.
type Fleet interface {
	Refresh()
	View() (v fleet.View, changed <-chan struct{})
}

// Writes are how this node takes the fleet's.
type Writes interface {
	// Tenure returns the one in which it does; the zero Tenure if it does not.
	Tenure() contract.Tenure
	// Settled returns up to where what is read in the reign of s is as safe as what is acknowledged, as far as the
	// leader of the primary knows; ok is false if nothing bounds what a failover may lose.
	Settled(s *timeline.State) (p contract.Position, ok bool)
	// Settle returns once what is up to a place is as safe as what is acknowledged, on the leader of the primary; with
	// ErrNotReady if that is not so before ctx ends.
	Settle(ctx context.Context, at region.Place) error
}

// Config is what Reads need. All fields but OnAsk are required.
type Config struct {
	Region   string // of this node
	Group    Group
	Standing Standing
	Fleet    Fleet
	Writes   Writes
	Applied  *region.Applied
	Client   *peer.Client
	Life     *life.Life
	Clock    clock.Clock
	Past     Past
	Timeout  time.Duration // of one question
	OnAsk    func(ctx context.Context, request []byte) ([]byte, error)
}

// Reads are safe for concurrent use.
type Reads struct {
	config   Config
	barrier  *barrier
	settling *barrier // of what was read
	past     *past
	told     *told
}

// New returns the reads of a node.
func New(c Config) *Reads {
	r := &Reads{config: c, past: newPast(&c), told: &told{applied: c.Applied}}
	r.barrier = &barrier{life: c.Life, clock: c.Clock, confirm: r.confirm}
	r.settling = &barrier{life: c.Life, clock: c.Clock, confirm: r.settle}
	return r
}

// Register makes this node answer the questions "position", "settled" and "ask".
func (r *Reads) Register(reg *peer.Registry) {
	peer.Handle(reg, askPosition, peer.FleetNode, func(ctx context.Context, _ peer.Nothing) (*confirmed, error) {
		return r.confirmed(ctx)
	})
	peer.Handle(reg, askSettled, peer.FleetNode, func(ctx context.Context, at region.Place) (peer.Nothing, error) {
		ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
		defer cancel()
		return peer.Nothing{}, r.config.Writes.Settle(ctx, at)
	})
	peer.Handle(reg, askEmbedder, peer.FleetNode, r.answer)
}

// Barrier returns once a read of this node's storage is as fresh as l asks. With Linearizable it sees every write that
// was acknowledged anywhere in the fleet before the call; at a secondary one small message crosses to the primary. With
// Serializable it sees what an earlier process of this node may have shown, and, in the region of the primary, what
// this one told, for which it waits a second at most and no longer than ctx: that is no error. Errors: ErrNotReady if
// that is not so before ctx ends, ErrDelayed, ErrClosed, ErrStopped.
func (r *Reads) Barrier(ctx context.Context, l contract.Level) error {
	alive := r.config.Life
	if err := alive.Err(); err != nil {
		return err
	}
	if l == contract.Serializable {
		r.told.wait(ctx)
		if err := alive.Err(); err != nil { // it ended meanwhile
			return err
		}
		return r.past.wait(ctx)
	}
	_, err := r.linearizable(ctx)
	return err
}

// Told says that somebody is told now that everything up to p is written.
func (r *Reads) Told(p contract.Position) { r.told.note(p) }

// linearizable returns the place that covers every write which was acknowledged before the call, once it is here.
func (r *Reads) linearizable(ctx context.Context) (*confirmed, error) {
	for {
		if err := r.late(); err != nil { // it may have become so while this waits
			return nil, err
		}
		at, err := r.barrier.wait(ctx)
		if err == nil {
			return at, nil
		}
		if err := r.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

// again returns nil after a pause if what came to why may be tried again.
func (r *Reads) again(ctx context.Context, why error) error {
	alive := r.config.Life
	if alive.Err() == nil && ctx.Err() == nil {
		_ = alive.Pause(ctx, retryEvery) // why it was cut short is looked at here
	}
	switch ended := alive.Err(); {
	case ended != nil:
		return ended
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w: %w", contract.ErrNotReady, contract.Ended(ctx), why)
	}
	return nil
}

// WaitPosition returns once everything up to p is applied on this node. Errors: ErrNotReady when ctx ends first,
// ErrClosed, ErrStopped.
func (r *Reads) WaitPosition(ctx context.Context, p contract.Position) error {
	if err := r.config.Life.Err(); err != nil {
		return err
	}
	_, err := r.config.Applied.Wait(ctx, func(v *region.View) bool { return v.Shows().Position >= p })
	return err
}

// WaitWrite returns once what was written up to p in the epoch e is applied on this node. Errors: ErrDiverged if it is
// known here that the history has gone on without it, ErrNotReady when ctx ends first, ErrClosed, ErrStopped.
func (r *Reads) WaitWrite(ctx context.Context, e contract.Epoch, p contract.Position) error {
	c := &r.config
	for {
		if err := c.Life.Err(); err != nil {
			return err
		}
		changed := c.Applied.Changed()
		_, news := c.Fleet.View()
		v, claim := c.Applied.View(), c.Standing.Claim()
		has, gone := v.State.Has(e, p)
		switch {
		case gone || claim.Epoch > e && claim.First <= p:
			return fmt.Errorf("%w: position %d was written in epoch %d, and the history, now in epoch %d of %s, has "+
				"gone on without that; it may be in a tail", contract.ErrDiverged, p, e, claim.Epoch, claim.Primary)
		case has && v.Shows().Position >= p:
			return nil
		}
		select {
		case <-changed:
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", contract.ErrNotReady, contract.Ended(ctx))
		case <-c.Life.Stopped():
		}
	}
}

// late returns why nothing here is new, where the region shows its history late: to wait would take as long as that.
func (r *Reads) late() error {
	v := r.config.Applied.View()
	d := v.State.Delay
	if d == nil {
		return nil
	}
	of := ""
	if !d.Of.IsZero() {
		of = ", of " + d.Of.UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("%w: region %s shows its history up to position %d%s: read it serializable, or ask another "+
		"region", contract.ErrDelayed, r.config.Region, v.Shown.Position, of)
}

// confirm makes the applied state at least as new as everything acknowledged before, in the history in which it was.
func (r *Reads) confirm(ctx context.Context) (*confirmed, error) {
	at, err := r.primaryPosition(ctx)
	if err != nil {
		r.config.Fleet.Refresh()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, arrivalTimeout)
	defer cancel()
	return at, r.config.Applied.Reach(ctx, at.Place)
}

// primaryPosition asks the primary for a place that covers everything acknowledged before.
func (r *Reads) primaryPosition(ctx context.Context) (*confirmed, error) {
	c := &r.config
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if c.Standing.Confirms() {
		return r.confirmed(ctx)
	}
	to := c.Standing.Route()
	if to.Addr == "" {
		return nil, contract.ErrNotReady
	}
	return peer.Ask(ctx, c.Client, to.Addr, askPosition, peer.Nothing{})
}

// Committed returns a place that nothing acknowledged by the primary before exceeds. A secondary asks the primary, and
// the place may not have come here yet. ErrNotReady also while the history here is not known to be that of the place.
func (r *Reads) Committed(ctx context.Context) (region.Place, error) {
	at, err := r.primaryPosition(ctx)
	if err != nil {
		return region.Place{}, err
	}
	s := r.config.Applied.State()
	if at.Reign == nil || s.Diverged != nil || timeline.Latest(s.Reigns) != *at.Reign {
		return region.Place{}, fmt.Errorf("%w: position %d of epoch %d is in no reign that region %s is in",
			contract.ErrNotReady, at.Position, at.Epoch, r.config.Region)
	}
	return at.Place, nil
}

// Confirmed returns a place in the history that covers every write acknowledged by the primary region before the call.
// Only a node of the primary region answers; ErrNotReady if its region is not entitled to be that.
func (r *Reads) Confirmed(ctx context.Context) (region.Place, error) {
	at, err := r.confirmed(ctx)
	if err != nil {
		return region.Place{}, err
	}
	return at.Place, nil
}

func (r *Reads) confirmed(ctx context.Context) (*confirmed, error) {
	c := &r.config
	// What others have of this reign by then, this region has committed: it is in the state that is waited for, however
	// late this node applies.
	picture, _ := c.Fleet.View()
	index, err := c.Group.ReadIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("confirm a read: %w", err)
	}
	v, err := c.Applied.Wait(ctx, func(v *region.View) bool { return v.Index >= index })
	if err != nil {
		return nil, err
	}
	// While sealed, the next epoch may have begun elsewhere already; and as long as other regions were not asked, in a
	// reign that is not known here. Nor is it known then what they have and this region lost: that is in the picture,
	// and a younger one tells Entitled that they were asked.
	if !picture.Settled() || !c.Standing.Entitled(&v.State) {
		return nil, fmt.Errorf("%w: region %s is %s, sealed: %t",
			contract.ErrNotReady, c.Region, v.State.Role(), v.State.Seal != nil)
	}
	if loss := c.Standing.Loss(picture, &v.State, 0); loss != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, loss)
	}
	at := &confirmed{Place: region.PlaceOf(&v.State)}
	if p, ok := c.Writes.Settled(&v.State); ok {
		at.Settled = &p
	}
	return at, nil
}
