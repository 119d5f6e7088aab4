package secondary

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// offer is a history of which a node at address gives a copy.
type offer struct {
	*Follower
	there   timeline.Origin
	address string
}

// parts completes a copy that came from address: whether the history here has something that it has not. Where
// somebody may know that and is silent he is asked again, and in the end all is taken to be missing that is not known
// to be there.
func (f *Follower) parts(ctx context.Context, copied *succession.Copy, address string) {
	o := offer{f, copied.Origin, address}
	parts, silent := o.missing(ctx)
	for turn := 1; silent && turn < mostSilent && f.config.Life.Pause(ctx, chainTimeout) == nil; turn++ {
		parts, silent = o.missing(ctx)
	}
	if silent {
		f.config.Logger.Warn("a node that may know whether the copy has what this region has does not say so: all of "+
			"the last epoch of both is a tail, which may hold what is not missing", "copy", copied.ID, "behind", *parts)
	}
	copied.Parts = parts
}

// missing returns behind which position the history here may have something that is not in the one there; nil: nothing.
// silent says that somebody who may know better does not answer. What nobody tells, and all whom this node hears were
// asked, is taken for a part, unless this region itself wrote on where the copy has more of the same reign: then its
// disks went back.
func (o offer) missing(ctx context.Context) (behind *timeline.Position, silent bool) {
	s := o.config.Applied.State()
	if s.Diverged != nil || len(s.Reigns) == 0 {
		return nil, false
	}
	relation, _ := timeline.Compare(s.Reigns, o.there.Reigns, s.Cursor.Position, o.there.Cursor.Position)
	switch relation {
	case timeline.Forked:
		p, _ := o.fork(ctx, o.there, o.address) // the copy is here: who gave it may be gone
		return &p, false
	case timeline.Prefix:
		c, known := o.told(ctx)
		own := c.reign.Primary == o.config.Region
		if known == timeline.Agree || known == timeline.Unknown && !c.silent && !own {
			return nil, false
		}
		_, began, last := timeline.Shared(c.here, o.there)
		if known == timeline.Unknown && c.silent {
			return &began, true
		}
		p := c.part(ctx, known, began, last)
		return &p, false
	default:
		return nil, false
	}
}

// told compares the history here with the one there at the last position of both, by what the node at address tells,
// or else somebody who has that history, too. Where nobody tells it, the comparison is silent if one of them did not
// answer.
func (o offer) told(ctx context.Context) (*comparison, timeline.Agreement) {
	c := o.compare(o.there, o.address)
	_, _, last := timeline.Shared(c.here, o.there)
	if known := c.at(ctx, last); known != timeline.Unknown {
		return c, known
	}
	others := whoElse(o.config.Fleet, o.there, o.address)
	comparisons, known := make([]*comparison, len(others)), make([]timeline.Agreement, len(others))
	var asked sync.WaitGroup
	for i, other := range others {
		asked.Go(func() {
			if comparisons[i] = o.compare(o.there, other); comparisons[i].vouches(ctx) {
				known[i] = comparisons[i].at(ctx, last)
			}
		})
	}
	asked.Wait()
	for i, other := range comparisons {
		if known[i] != timeline.Unknown {
			return other, known[i]
		}
		c.silent = c.silent || other.silent
	}
	return c, timeline.Unknown
}

// whoElse returns whom to ask about the history of a copy that came from address: all nodes of other regions that
// answered in the last round, those of the region first that wrote last.
func whoElse(w *fleet.Watcher, there timeline.Origin, address string) (addresses []string) {
	view, _ := w.View()
	for _, name := range slices.Sorted(maps.Keys(view.Regions)) {
		at := len(addresses)
		if name == timeline.Latest(there.Reigns).Primary {
			at = 0
		}
		for _, said := range view.Regions[name].Nodes {
			if said.Asked != address {
				addresses = slices.Insert(addresses, at, said.Asked)
			}
		}
	}
	return addresses
}
