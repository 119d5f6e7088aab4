package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func (k *Keeper) remove(ctx context.Context, r Removal) (*Change, error) {
	s, base, end, err := k.begin(ctx, fmt.Sprintf("region %s is being removed", r.Region), r.Region)
	if err != nil {
		return nil, err
	}
	defer end()
	c := &Change{Region: r.Region}
	switch {
	case r.Region == k.config.Region:
		return nil, fmt.Errorf("%w: region %s is the primary: switch over first", contract.ErrArgument, r.Region)
	case base.Home(r.Region) == nil:
		return nil, fmt.Errorf("%w: %q; the fleet has %s", contract.ErrUnknownRegion, r.Region,
			strings.Join(names(base), ", "))
	}
	if err := k.mayForget(ctx, r.Region); err != nil {
		return nil, err
	}
	l := k.leaderOf(ctx, r)
	if err := k.losesTail(ctx, c, r); err != nil {
		return nil, err
	}
	if l != nil && l.Level < timeline.LevelRoster {
		c.say("region %s answers, led by %s, which is of a version that cannot be told: stop its nodes for good",
			r.Region, l.Node)
	} else if l != nil {
		c.say("region %s answers, led by %s, and is told: its nodes end by themselves", r.Region, l.Node)
	} else if !r.Gone {
		return nil, fmt.Errorf("%w: no leader of region %s answers, so that it cannot be told: stop its nodes for "+
			"good, and say so (--gone)", contract.ErrRejected, r.Region)
	} else {
		c.say("region %s does not answer, and is said to be gone", r.Region)
	}
	if err := k.whole(ctx, s, base, r.Region); err != nil {
		return nil, err
	}
	if err := k.unvote(ctx, c, s, r); err != nil {
		return nil, err
	}
	if slot := slices.IndexFunc(s.Slots, func(o timeline.Slot) bool { return o.Region == r.Region }); slot >= 0 {
		c.say("its slot, at position %d, goes, and holds no log any more", s.Slots[slot].Position)
	}
	done, err := k.forget(ctx, c, s, base, r)
	if charter := s.Charter(); err != nil && charter != nil && charter.Voter(r.Region) != nil {
		err = fmt.Errorf("the vote of region %s is taken, and it may be one of the fleet still: say it again: %w",
			r.Region, err)
	}
	return done, err
}

// forget writes the roster without the region. Where there was none, one with it is written first, and it is waited for
// that the region takes that, if it answers: its nodes know then that another region of its name is not theirs.
func (k *Keeper) forget(
	ctx context.Context, c *Change, s *timeline.State, base *timeline.Roster, r Removal,
) (*Change, error) {
	last := base
	if s.Roster == nil && base.Ranked && !r.Gone {
		last = base.With(s.Cursor.Epoch, k.config.Region, r.Region, base.Home(r.Region).Addrs)
		if _, err := k.write(ctx, c, base, last, r.Try); err != nil {
			return nil, err
		}
		for began := k.config.Clock.Now(); !r.Try && !k.hasRoster(r.Region) &&
			k.config.Clock.Now().Sub(began) < 5*k.config.Timeout && k.config.Life.Pause(ctx, again) == nil; {
			k.config.Fleet.Refresh()
		}
	}
	next := last.Without(s.Cursor.Epoch, k.config.Region, r.Region)
	next.Was(r.Region).Untold = next.Ranked && !k.hasRoster(r.Region)
	return k.write(ctx, c, base, next, r.Try)
}

// hasRoster reports whether the region was heard to go by a roster that has it: its nodes know which region they are.
func (k *Keeper) hasRoster(name string) bool {
	v, _ := k.config.Fleet.View()
	last := v.Regions[name].Last
	return last != nil && last.Roster.Home(name) != nil
}

// losesTail returns an error if a region that is to go holds, or may hold, what nobody else has: its nodes end before
// they save that. What it was heard to hold this region has agreed on by then, if it is of its history: a node that
// applies it late says nothing of it, neither that the region holds more nor that a failover did not cut it off.
func (k *Keeper) losesTail(ctx context.Context, c *Change, r Removal) error {
	picture, _ := k.config.Fleet.View()
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	v, err := agreed(ctx, &k.config)
	if err != nil {
		return fmt.Errorf("%w: it is not known whether region %s holds what nobody else has, since this node has not "+
			"applied what its region agreed on: %w", contract.ErrNotReady, r.Region, err)
	}
	goes := picture.Regions[r.Region]
	why := alone(&v.State, r.Region, goes.Last)
	if why == "" && goes.Led != nil { // a node that lacks it says nothing of it
		why = alone(&v.State, r.Region, goes.Led)
	}
	if why == "" {
		return nil
	}
	if !r.LoseTail {
		return fmt.Errorf("%w: region %s %s; its nodes end before they save that: let them come back and rejoin "+
			"first, or say that it may be lost (--lose-tail)", contract.ErrRejected, r.Region, why)
	}
	c.say("region %s %s, which may be lost", r.Region, why)
	return nil
}

// alone returns what a region holds, or may hold, that is not in the history of a primary in the state s, by what the
// region said last, which may be nil; "" if nothing is known of.
func alone(s *timeline.State, name string, last *fleet.Heard) string {
	if reign := cutOff(s, name); reign != nil && (last == nil || last.Cursor.Epoch < reign.Epoch) {
		// What was heard of it before a failover cut it off does not tell how far it came.
		heard := "was not heard to have rejoined"
		if last == nil {
			heard = "was not heard since this node started"
		}
		return fmt.Sprintf("was primary before epoch %d of %s began by force, and %s: it may hold what it wrote after "+
			"position %d", reign.Epoch, reign.Primary, heard, reign.First-1)
	}
	if last == nil {
		return ""
	}
	relation, shared := timeline.Compare(last.Reigns, s.Reigns, last.Cursor.Position, s.Cursor.Position)
	if relation == timeline.Prefix && !last.Diverged {
		return ""
	}
	return fmt.Sprintf("holds position %d of epoch %d, of which this history has what is up to %d",
		last.Cursor.Position, last.Cursor.Epoch, shared)
}

// cutOff returns the reign of another region by which a region was cut off while it was primary; nil if there is none,
// or if the state s of the primary proves that it has rejoined since: it reigned again, and that goes on from this one,
// or it acknowledged a position of it, by its slot.
func cutOff(s *timeline.State, name string) *timeline.Reign {
	for i := len(s.Reigns) - 1; i > 0; i-- {
		reign := &s.Reigns[i]
		if reign.Primary == name {
			return nil
		}
		if reign.Lossy && s.Reigns[i-1].Primary == name {
			acknowledged := slices.ContainsFunc(s.Slots, func(o timeline.Slot) bool {
				return o.Region == name && o.Position >= reign.First
			})
			if acknowledged {
				return nil
			}
			return reign
		}
	}
	return nil
}

// mayForget returns nil unless a region is known to hold what this one wrote and has lost: who forgets what was heard
// of that region takes writes in their place. What the other one had when it was heard, this region has committed; a
// node that applies it late has lost nothing.
func (k *Keeper) mayForget(ctx context.Context, name string) error {
	picture, _ := k.config.Fleet.View()
	if k.config.Standing.LossTo(picture, k.config.Applied.State(), name) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	v, err := agreed(ctx, &k.config)
	if err != nil {
		return fmt.Errorf("%w: region %s holds more than this node has applied, and it is not known whether this "+
			"region has lost it: %w", contract.ErrNotReady, name, err)
	}
	if l := k.config.Standing.LossTo(picture, &v.State, name); l != nil {
		return fmt.Errorf("%w: region %s cannot be removed before that is decided: %w", contract.ErrRejected, name, l)
	}
	return nil
}

// agreed returns the state with everything that this region had agreed on before the call.
func agreed(ctx context.Context, c *Config) (*region.View, error) {
	index, err := c.Group.ReadIndex(ctx)
	if err != nil {
		return nil, err
	}
	return c.Applied.Wait(ctx, func(v *region.View) bool { return v.Index >= index })
}

// leaderOf returns the leader of a region that is to go, which may be about to be elected; nil if none answers. Of one
// that is said to be gone it is not waited for.
func (k *Keeper) leaderOf(ctx context.Context, r Removal) *fleet.Heard {
	for began := k.config.Clock.Now(); ; {
		v, _ := k.config.Fleet.View()
		l := v.Regions[r.Region].Leader()
		if l != nil || r.Gone || k.config.Clock.Now().Sub(began) > 5*k.config.Timeout {
			return l
		}
		k.config.Fleet.Refresh()
		if k.config.Life.Pause(ctx, again) != nil {
			return nil
		}
	}
}

// unvote takes the vote of a region, if it has one.
func (k *Keeper) unvote(ctx context.Context, c *Change, s *timeline.State, r Removal) error {
	charter := s.Charter()
	if charter == nil || charter.Voter(r.Region) == nil {
		c.say("it has no vote")
		return nil
	}
	err := k.config.Charter.Removable(r.Region)
	for began := k.config.Clock.Now(); errors.Is(err, contract.ErrNotReady) &&
		k.config.Clock.Now().Sub(began) < 2*k.config.Timeout && k.config.Life.Pause(ctx, again) == nil; {
		err = k.config.Charter.Removable(r.Region) // a charter that was just written settles by itself
	}
	if err == nil && !r.Try {
		err = k.config.Charter.Unvote(ctx, r.Region)
	}
	if err != nil {
		return fmt.Errorf("region %s votes, and its vote cannot be taken: %w", r.Region, err)
	}
	c.say("its vote goes: %d of %d voters stay", len(charter.Voters)-1, len(charter.Voters))
	return nil
}
