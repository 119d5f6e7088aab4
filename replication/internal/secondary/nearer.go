package secondary

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
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
// while, unless a part of a copy is here: then whoever gave that gives the rest, and nobody nearer is of interest. If
// the primary is silent all that time, any other region does that is well.
func (f *Follower) nearer(ctx context.Context, s *session) string {
	clock := f.config.Clock
	if s.part != (giving{}) {
		wanted, _ := f.mayGive(s)
		if wanted != s.part.region {
			wanted = ""
		}
		return wanted
	}
	for until := clock.Now().Add(nearPatience); ; {
		wanted, known := f.mayGive(s)
		v, changed := f.config.Fleet.View()
		left := until.Sub(clock.Now())
		other := f.elsewhere(v, s)
		if wanted == "" && known && other == "" {
			return ""
		}
		if left <= 0 {
			return other
		}
		if wanted != "" && known && gives(v, f.config.Applied.State(), s.source, wanted) {
			return wanted
		}
		f.setActivity("waits to hear of whom it is to have a copy")
		if wanted != "" && known {
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

// elsewhere returns the region that is the least late of those that give a copy while no node of the primary answers,
// "" for none. One of which a copy did not lead on has to have got on since.
func (f *Follower) elsewhere(v fleet.View, s *session) string {
	state := f.config.Applied.State()
	if len(v.Regions[s.source].Nodes) > 0 || state.Diverged != nil {
		return ""
	}
	var all []*fleet.Heard
	for name, r := range v.Regions {
		l := r.Leader()
		if name == s.source || name == f.config.Region || !gives(v, state, s.source, name) ||
			s.near != nil && l.Cursor.Position <= *s.near {
			continue
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return ""
	}
	return slices.MinFunc(all, func(a, b *fleet.Heard) int {
		return cmp.Or(cmp.Compare(a.Following.LagSeconds, b.Following.LagSeconds), cmp.Compare(a.Region, b.Region))
	}).Region
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
		s.near != nil && f.has() <= *s.near {
		return "", true
	}
	return wanted, known
}

// gives reports whether a region, which is to be followed by one in the state s, can give that a copy. One that has not
// heard yet that there is a region of that name gives it nothing.
func gives(v fleet.View, s *timeline.State, primary, wanted string) bool {
	l := v.Regions[wanted].Leader()
	return l != nil && l.Late == nil && l.Cursor.Position > s.Cursor.Position &&
		(l.Roster == nil || l.Roster.Home(s.Region) != nil) &&
		v.Claim(s.HighestClaim()).Primary == primary && outlookOf(v, s, primary).well(wanted, maxLag)
}

// askedOf returns which nodes of a region are asked for a copy, in order.
func (f *Follower) askedOf(v *fleet.View, region string, addresses []string) (all []giving) {
	for _, addr := range givers(v.Regions[region], addresses, f.has()) {
		all = append(all, giving{region, addr})
	}
	return all
}

// leadsOn returns why a copy of a region cannot take the place of one of the source, nil if it can: it goes on with the
// history of the state s, and is a part of the source's, as far as that is known.
func leadsOn(v fleet.View, s *timeline.State, region, source string, there timeline.Origin) error {
	if region == source {
		return nil
	}
	at := there.Cursor.Position
	relation, _ := timeline.Compare(s.Reigns, there.Reigns, s.Cursor.Position, at)
	if len(s.Reigns) > 0 && (relation != timeline.Prefix || at <= s.Cursor.Position) {
		return fmt.Errorf("%w: the copy of region %s, at position %d, does not go on with the history of this region",
			contract.ErrRejected, region, at)
	}
	if l := v.Regions[source].Leader(); l != nil {
		if r, _ := timeline.Compare(there.Reigns, l.Reigns, at, l.Cursor.Position); r == timeline.Forked {
			return fmt.Errorf("%w: the copy of region %s, at position %d, is no part of the history of %s",
				contract.ErrRejected, region, at, source)
		}
	}
	return nil
}

// heardAt returns where a node was when it was heard last, zero if it was not, or is no good.
func heardAt(v fleet.View, g giving) timeline.Position {
	nodes := v.Regions[g.region].Nodes
	i := slices.IndexFunc(nodes, func(n fleet.Heard) bool { return n.Asked == g.addr && !n.Diverged })
	if i < 0 {
		return 0
	}
	return nodes[i].Cursor.Position
}
