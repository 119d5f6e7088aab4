package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// outlived reports whether the roster of a region in the state s, which is to write it anew, is of an earlier reign
// than its own, or not ranked.
func outlived(s *timeline.State) bool {
	return s.Roster != nil && s.Role() == timeline.Primary &&
		(s.Roster.Epoch < s.Cursor.Epoch || !s.Roster.Ranked)
}

// ranks reports whether a region with the roster r, which may be nil, is to write ranked ones: it has begun to, or all
// nodes of all regions, but for the one called without, understand them.
func (k *Keeper) ranks(ctx context.Context, r *timeline.Roster, without string) bool {
	return r != nil && r.Ranked || k.config.Ready(ctx, timeline.LevelRanks, without) == nil
}

// stamp has the region, while this node leads it and it is primary, write its roster anew in its epoch, once: what an
// earlier primary wrote, or writes while it is cut off, is older then, whoever reigns later. Before that whoever
// answers is asked once for a newer one, but for a handoff, which waits for that. Until then nothing is sealed. One
// that nodes of LevelRoster wrote is written anew as a ranked one once there are no such nodes any more.
func (k *Keeper) stamp(ctx context.Context) {
	leads := k.config.Leadership.Leads() // before the state, which has everything then
	s := k.config.Applied.State()
	if !leads || !outlived(s) || !k.config.Standing.Entitled(s) {
		k.reign = timeline.Reign{}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	if !k.ranks(ctx, s.Roster, "") || !k.asked(s) {
		return
	}
	k.mu.Lock()
	newer := wanted(s, k.heard)
	k.mu.Unlock()
	if !k.order.take("") {
		return // whoever has it has this one looked at again
	}
	defer k.order.end()
	if newer {
		return // it is taken first
	}
	next := s.Roster.Stamped(s.Cursor.Epoch, k.config.Region, k.beyond(s))
	o, err := k.config.Controls.Control(ctx, &timeline.Control{
		Op: timeline.OpRoster, Roster: next, To: k.config.Region,
	})
	if err == nil && o.Outcome == timeline.Refused {
		err = fmt.Errorf("%w: %s", contract.ErrRejected, o.Why)
	}
	if err != nil && ctx.Err() == nil {
		k.config.Logger.Warn("roster not written anew", "roster", next.Number, "epoch", next.Epoch, "err", err)
	}
}

// asked reports whether the other regions were asked since it was first seen that the primary in the state s has to
// write its roster anew, as far as they answer in time.
func (k *Keeper) asked(s *timeline.State) bool {
	reign := timeline.Latest(s.Reigns)
	if reign.Handoff != 0 {
		return true // it began with the newest
	}
	if k.reign != reign {
		k.config.Fleet.RefreshAnew()
		k.reign, k.sought = reign, k.config.Clock.Now()
	}
	return k.config.Clock.Now().Sub(k.sought) >= askedWithin(&k.config) || k.heardSince(k.sought)
}

// heardSince reports whether every other region was asked since then.
func (k *Keeper) heardSince(then time.Time) bool {
	v, _ := k.config.Fleet.View()
	for _, r := range v.Regions {
		if r.Asked.Before(then) {
			return false
		}
	}
	return true
}
