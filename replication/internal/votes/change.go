package votes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Change is what an operator changes of a charter; what is nil or empty stays. It travels as JSON.
type Change struct {
	// Remove is the voter that votes no more, and Add a region that votes from then on: a region's name, or a witness'
	// with timeline.WitnessPrefix. A region that lost its ballot is removed and added. Witness, a name, is added by the
	// addresses Addrs.
	Remove  string   `json:"remove,omitempty"`
	Add     string   `json:"add,omitempty"`
	Witness string   `json:"witness,omitempty"`
	Addrs   []string `json:"addrs,omitempty"`

	Automatic  *bool          `json:"automatic,omitempty"`
	Lease      *time.Duration `json:"lease,omitempty"`
	Patience   *time.Duration `json:"patience,omitempty"`
	MaxLoss    *uint64        `json:"maxLoss,omitempty"`
	StopWrites *bool          `json:"stopWrites,omitempty"`

	// Of nodes of timeline.LevelPolicy. FlapMoves times within FlapWithin the primary moves by itself, zero: as often
	// as it may be; Failback: zero switches it off; Priorities are of regions that vote.
	FlapMoves  *uint32          `json:"flapMoves,omitempty"`
	FlapWithin *time.Duration   `json:"flapWithin,omitempty"`
	Failback   *time.Duration   `json:"failback,omitempty"`
	Priorities map[string]uint8 `json:"priorities,omitempty"`
}

// policy reports whether something is to change of which nodes before timeline.LevelPolicy do not know.
func (o *Change) policy() bool {
	return o.FlapMoves != nil || o.FlapWithin != nil || o.Failback != nil || len(o.Priorities) > 0
}

// Empty reports whether nothing is to change.
func (o *Change) Empty() bool {
	return o.Remove == "" && o.Add == "" && o.Witness == "" && o.Automatic == nil && o.Lease == nil &&
		o.Patience == nil && o.MaxLoss == nil && o.StopWrites == nil && !o.policy()
}

// To the leader of the primary. A policy is asked for by another name: who does not know of it must not write the rest.
const (
	askChange = peer.Question[Change, *timeline.Charter]("vote-change")
	askPolicy = peer.Question[Change, *timeline.Charter]("vote-policy")
)

// Change changes who votes, and by which rules. Any node takes the call. Errors: as of Enable.
func (v Orders) Change(ctx context.Context, c Change) (*timeline.Charter, error) {
	if !c.policy() {
		return atPrimary(ctx, v, askChange, c, v.change)
	}
	if err := v.config.Ready(ctx, timeline.LevelPolicy); err != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
	}
	return atPrimary(ctx, v, askPolicy, c, v.change)
}

// change goes by one voter at a time, so that any majority has a voter in common with the one before (B1). What one
// majority kept, the next one is told before the one after that.
func (v Orders) change(ctx context.Context, o Change) (*timeline.Charter, error) {
	end, err := v.turns.order("who votes, or by which rules, is being changed")
	if err != nil {
		return nil, err
	}
	defer end()
	c, err := v.next()
	if err != nil {
		return nil, err
	}
	if err := o.rules(c); err != nil {
		return nil, err
	}
	if err := v.understood(ctx, c); err != nil {
		return nil, err
	}
	if s := v.config.Applied.State(); c.Hold != nil && (o.Add != "" || o.Witness != "" || o.Remove != "") {
		return nil, fmt.Errorf("%w: %s: mimir fleet hold --end first", contract.ErrRejected, ballot.Held(s))
	}
	add := o.Add
	if o.Witness != "" {
		add = timeline.WitnessPrefix + o.Witness
	}
	if o.Remove != "" {
		if err := v.remove(c, o.Remove); err != nil {
			return nil, err
		}
	}
	switch {
	case add != "":
		return v.addOne(ctx, c, add, o)
	case o.Remove != "":
		return c, v.writeSettled(ctx, c)
	default:
		return c, v.write(ctx, c)
	}
}

// addOne writes c with one voter more, behind one with one voter less if one is removed. Who is added has to be there
// before that.
func (v Orders) addOne(
	ctx context.Context, c *timeline.Charter, add string, o Change,
) (*timeline.Charter, error) {
	if c.Voter(add) != nil {
		return nil, fmt.Errorf("%w: %s votes already", contract.ErrArgument, add)
	}
	if err := v.config.Ready(ctx, c.Level()); err != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
	}
	more := *c
	if err := v.add(ctx, &more, add, o.Addrs); err != nil {
		return nil, err
	}
	if more.Spread() > c.Spread() {
		return nil, fmt.Errorf("%w: where nothing may be lost, what was acknowledged in %d regions would have to be "+
			"in %d: change that first, for as long as it takes", contract.ErrRejected, c.Spread(), more.Spread())
	}
	if o.Remove == "" {
		return &more, v.writeSettled(ctx, &more)
	}
	if err := v.without(ctx, c); err != nil {
		return nil, err
	}
	next, err := v.with(ctx, more.Voter(add), c.Automatic)
	if err != nil { // not as what it is: nothing of that was done, and that would be tried anew from the start
		return nil, fmt.Errorf("%w: %s votes no more, and %s is not known to vote; see mimir fleet show: %v",
			contract.ErrUnknownOutcome, o.Remove, add, err)
	}
	return next, nil
}

// with has one voter more, behind a charter that was written for that, and goes on from whatever the region has written
// by itself meanwhile.
func (v Orders) with(ctx context.Context, voter *timeline.Voter, automatic bool) (*timeline.Charter, error) {
	for again := 0; ; again++ {
		c, err := v.next()
		if err != nil {
			return nil, err
		}
		if c.Hold != nil || c.Voter(voter.ID) != nil {
			return nil, fmt.Errorf("%w: another order came between", contract.ErrRejected)
		}
		c.Automatic = c.Automatic || automatic
		c.Voters = append(slices.Clone(c.Voters), *voter)
		slices.SortFunc(c.Voters, byID)
		if err = v.writeSettled(ctx, c); !errors.Is(err, errOutrun) || again == outrunTries {
			return c, err
		}
		err = v.until(ctx, max(2*v.config.Timeout, c.Lease), func() bool { return v.settled(c) == nil })
		if err != nil {
			return nil, cmp.Or(v.settled(c), err)
		}
	}
}

// rules changes everything but the voters.
func (o *Change) rules(c *timeline.Charter) error {
	if o.Lease != nil { // who starts anew has to wait as long as it may have promised before
		if c.Former = c.Promise(); c.Former <= *o.Lease {
			c.Former = 0
		}
	}
	assign(&c.Automatic, o.Automatic)
	assign(&c.Lease, o.Lease)
	assign(&c.Patience, o.Patience)
	assign(&c.MaxLoss, o.MaxLoss)
	assign(&c.StopWrites, o.StopWrites)
	return o.moves(c)
}

// moves changes how the primary moves by itself.
func (o *Change) moves(c *timeline.Charter) error {
	bound := c.Bound()
	assign(&bound.Moves, o.FlapMoves)
	assign(&bound.Within, o.FlapWithin)
	if c.Flap = &bound; bound == timeline.DefaultFlap {
		c.Flap = nil
	}
	assign(&c.Failback, o.Failback)
	c.Voters = slices.Clone(c.Voters)
	for id, priority := range o.Priorities {
		voter := c.Voter(id)
		if voter == nil || voter.Witness() {
			return fmt.Errorf("%w: %q is no region that votes", contract.ErrArgument, id)
		}
		c.Again(voter)
		voter.Priority = priority
	}
	return nil
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// remove takes a voter out of c.
func (v Orders) remove(c *timeline.Charter, id string) error {
	switch {
	case id == v.config.Region:
		return fmt.Errorf("%w: region %s is primary: switch over first", contract.ErrArgument, id)
	case c.Voter(id) == nil:
		var known []string
		for _, w := range c.Voters {
			known = append(known, w.ID)
		}
		return fmt.Errorf("%w: %q does not vote; known are %s", contract.ErrArgument, id, strings.Join(known, ", "))
	}
	c.Keeps(c.Voter(id))
	c.Voters = slices.DeleteFunc(slices.Clone(c.Voters), func(w timeline.Voter) bool { return w.ID == id })
	return nil
}

// without has the others go on without the voter that c lacks, and returns when another one may come after that. While
// they are only two, nothing can move by itself.
func (v Orders) without(ctx context.Context, c *timeline.Charter) error {
	fewer := *c
	fewer.Automatic = c.Automatic && len(c.Voters) >= 3
	if err := v.writeSettled(ctx, &fewer); err != nil {
		return err
	}
	err := v.until(ctx, max(2*v.config.Timeout, c.Lease), func() bool { return v.settled(&fewer) == nil })
	if err != nil {
		return fmt.Errorf("%w: one voter is removed, and the other one not added: %w", contract.ErrUnknownOutcome,
			cmp.Or(v.settled(&fewer), err))
	}
	return nil
}

// writeSettled writes a charter with one voter more or less.
func (v Orders) writeSettled(ctx context.Context, c *timeline.Charter) error {
	if err := v.settled(c); err != nil {
		return err
	}
	return v.write(ctx, c)
}

// settled returns nil if next, which has one voter more or less, may be written. What the holder knows is of the
// charter by which it asked last: that has to be the one that is in force.
func (v Orders) settled(next *timeline.Charter) error {
	s := v.config.Applied.State()
	v.mu.Lock()
	defer v.mu.Unlock()
	known := s.Charter().Epoch == s.Cursor.Epoch && v.holder.Known(s.Charter().Mark())
	if !known || !v.holder.Settled(next) || !v.config.Fence.Holds(s) {
		return fmt.Errorf("%w: of the voters as they were or as they would be, no majority supports the primary yet, "+
			"and keeps charter %d of epoch %d; see mimir fleet show", contract.ErrNotReady, s.Charter().Number,
			s.Charter().Epoch)
	}
	return nil
}
