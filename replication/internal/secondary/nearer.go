package secondary

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// nearPatience is for how long a nearer region is waited for that is not well: a node that begins has not heard it yet.
const nearPatience = 5 * time.Second

// lookEvery is how often it is looked meanwhile whether it is.
const lookEvery = 100 * time.Millisecond

// giving is a node of which a copy is asked.
type giving struct{ region, addr string }

// nearer returns the region that gives this one a copy in the place of the primary, "" for none: the one that it is to
// follow by the roster, since that is the nearer one, while it is well and shows what it has. It waits for that for a
// while.
func (f *Follower) nearer(ctx context.Context, s *session) string {
	clock := f.config.Clock
	for until := clock.Now().Add(nearPatience); ; {
		wanted, known := f.mayGive(s)
		v, changed := f.config.Fleet.View()
		left := until.Sub(clock.Now())
		if wanted == "" && known || left <= 0 {
			return ""
		}
		if known && gives(v, f.config.Applied.State(), s.source, wanted) {
			return wanted
		}
		f.setActivity("waits to hear of whom it is to have a copy")
		if known {
			f.setActivity("waits for region " + wanted + ", of which it is to have a copy")
		}
		timer := clock.NewTimer(min(left, lookEvery))
		select {
		case <-changed:
		case <-timer.C():
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ""
		}
	}
}

// mayGive returns the region that would be nearer, whatever is known of it. What is to be saved of a history that has
// diverged is found by asking the primary; and a region that had a copy of the nearer one, and needs another before it
// got on, gets that from the primary. known is false where the region has not heard that it is one of the fleet.
func (f *Follower) mayGive(s *session) (region string, known bool) {
	if f.config.Wanted == nil {
		return "", true
	}
	wanted, known := f.config.Wanted()
	state := f.config.Applied.State()
	if wanted == s.source || wanted == f.config.Region || state.Diverged != nil ||
		s.near != nil && f.has() <= s.near.Origin.Cursor.Position {
		return "", true
	}
	return wanted, known
}

// gives reports whether a region, which is to be followed by one in the state s, can give that a copy.
func gives(v fleet.View, s *timeline.State, primary, wanted string) bool {
	l := v.Regions[wanted].Leader()
	return l != nil && l.Late == nil && l.Cursor.Position > s.Cursor.Position &&
		v.Claim(s.HighestClaim()).Primary == primary && outlookOf(v, s, primary).well(wanted, maxLag)
}

// askedOf returns which nodes of a region are asked for a copy, in order.
func (f *Follower) askedOf(v *fleet.View, region string, addresses []string) (all []giving) {
	for _, addr := range givers(v.Regions[region], addresses, f.has()) {
		all = append(all, giving{region, addr})
	}
	return all
}

// leadsOn reports whether a copy that a nearer region gave goes on with the history here.
func (f *Follower) leadsOn(there timeline.Origin) bool {
	s := f.config.Applied.State()
	relation, _ := timeline.Compare(s.Reigns, there.Reigns, s.Cursor.Position, there.Cursor.Position)
	return len(s.Reigns) == 0 || relation == timeline.Prefix
}
