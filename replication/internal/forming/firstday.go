package forming

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

// firstDayAfter is how long a node waits for all others of its region before it asks other regions whether a majority
// is enough: those that are late by less are part of it, and what a region has begun is known to all others by then.
const firstDayAfter = 5 * time.Second

// word is what a node of another region said of the fleet.
type word struct {
	id      uint64
	node    string
	voters  int    // of its region, by what it knows
	old     bool   // it is of a version that does not say what it heard of this region
	history string // what it knows of a history, in words; "": nothing
}

// firstDay says why it is not known to be the first day of the fleet, as the end of a sentence; "" if it is: of each
// other region a majority of its nodes answers, and none of them knows of any history. It is no proof: what a majority
// of every region has lost with its disks is forgotten.
func (f *Forming) firstDay(ctx context.Context) string {
	c := &f.config
	switch {
	case c.FleetExists:
		return "; nothing is taken for the first day of a fleet that exists (initial-cluster-state)"
	case len(c.Regions) == 0:
		return "; no other region could say that this is the first day of the fleet, on which a majority is enough"
	case c.Clock.Now().Sub(f.began) < firstDayAfter:
		return "; the other regions are asked soon whether this is the first day of the fleet"
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	words := map[string][]word{}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for region, addrs := range c.Regions {
		for _, addr := range addrs {
			asked.Go(func() {
				if w, ok := f.askElsewhere(ctx, region, addr); ok {
					mu.Lock()
					defer mu.Unlock()
					words[region] = append(words[region], w)
				}
			})
		}
	}
	asked.Wait()
	for _, region := range slices.Sorted(maps.Keys(c.Regions)) {
		if why := notFirstDay(region, len(c.Regions[region]), words[region]); why != "" {
			return why
		}
	}
	return ""
}

// notFirstDay says why what nodes of a region said is not enough, which has so many addresses.
func notFirstDay(region string, addresses int, words []word) string {
	slices.SortFunc(words, func(a, b word) int { return strings.Compare(a.node, b.node) })
	words = slices.CompactFunc(words, func(a, b word) bool { return a.id == b.id })
	nodes, said, old := addresses, 0, ""
	for _, w := range words {
		if nodes = max(nodes, w.voters); w.history != "" {
			return fmt.Sprintf("; this is not the first day of the fleet: node %s of region %s %s", w.node, region,
				w.history)
		}
		if w.old {
			old = fmt.Sprintf(", and %s is of a version that cannot", w.node)
		} else {
			said++
		}
	}
	if said > nodes/2 {
		return ""
	}
	return fmt.Sprintf("; or, on the first day of the fleet, start a majority of region %s, of which %d of %d nodes "+
		"say that they know of no history%s", region, said, nodes, old)
}

// askElsewhere asks a node of another region, at addr.
func (f *Forming) askElsewhere(ctx context.Context, region, addr string) (w word, ok bool) {
	c := &f.config
	r, err := f.report(ctx, addr)
	if err != nil || r.Region != region || r.Fleet != c.Fleet {
		return w, false
	}
	w = word{id: r.ID, node: r.Node}
	for _, o := range r.Nodes {
		if !o.Learner {
			w.voters++
		}
	}
	q := recall.Question{ID: c.Self.ID, Disk: c.Disk.ID, Boot: c.Disk.Boot}
	for name := range c.Nodes {
		q.Of = append(q.Of, members.RaftID(c.Region, name))
	}
	a, spoke, err := recall.Ask(ctx, c.Client, addr, q)
	switch {
	case r.Claim.Epoch > 0 || len(r.Reigns) > 0 || r.Cursor.Position > 0:
		w.history = fmt.Sprintf("knows of epoch %d", r.Claim.Epoch)
	case err != nil && spoke:
		return w, false
	case a.Furthest == nil:
		w.old = true
	case *a.Furthest > 1: // every log begins with an entry
		w.history = fmt.Sprintf("has heard of entry %d in the log of this region", *a.Furthest)
	}
	return w, true
}

// Form has a node that waits form its region with all that are empty and answer, at least a majority, by the word of an
// operator that nothing is needed of what the others acknowledged.
func (f *Forming) Form(ctx context.Context) (*contract.Formation, error) {
	c := &f.config
	if !f.Waits() {
		return nil, nil
	}
	f.config.Logger.Warn("an operator orders to form the region with the nodes that are empty and answer")
	born, lacks, err := f.ordered(ctx)
	switch {
	case errors.Is(err, durable.ErrUnsettled):
		return nil, fmt.Errorf("%w: this node ends, and its next start may form region %s: %w",
			contract.ErrUnknownOutcome, c.Region, err)
	case err != nil:
		return nil, err
	case lacks != "":
		return nil, fmt.Errorf("%w: region %s is not formed: %s", contract.ErrRejected, c.Region, lacks)
	}
	return &contract.Formation{Region: c.Region, Nodes: f.names(born), Left: f.leftOut(born)}, nil
}

// ordered takes by order, in which nobody is left out before he was asked for peer.SilentFor.
func (f *Forming) ordered(ctx context.Context) (born recall.Part, lacks string, err error) {
	ctx = peer.Anew(ctx)
	var first, asked time.Time
	again := false
	vouched := func(context.Context) string {
		if again = asked.Sub(first) < peer.SilentFor; again {
			return fmt.Sprintf("; an order to form the region without it asks it for %v", peer.SilentFor)
		}
		return ""
	}
	for {
		again = false
		f.turn.Lock()
		if asked = f.config.Clock.Now(); first.IsZero() {
			first = asked
		}
		born, lacks, err = f.take(ctx, vouched)
		f.turn.Unlock()
		if err != nil || !again {
			return born, lacks, err
		}
		_ = f.config.Life.Pause(ctx, formingEvery) // that ctx ended is said by take
	}
}

// ended says why silence means nothing: the node, or whoever asked, has ended and waits for nobody.
func (f *Forming) ended(ctx context.Context) error {
	if err := f.config.Life.Failure(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ask the nodes of region %s: %w", f.config.Region, contract.Ended(ctx))
	}
	return nil
}

// tell logs that the region is formed without some of its nodes.
func (f *Forming) tell() {
	p := f.Part()
	if left := f.leftOut(p); len(left) > 0 {
		f.config.Logger.Warn("the region is formed without nodes that did not answer; whatever they acknowledged is "+
			"not part of it, and they join only with an empty data directory", "with", f.names(p), "without", left)
	}
}

// names are the nodes with which the region was formed, as far as they are configured.
func (f *Forming) names(born recall.Part) []string {
	return f.configured(func(id uint64) bool { return born.Formed[id] != "" })
}

func (f *Forming) leftOut(born recall.Part) []string {
	return f.configured(func(id uint64) bool { return slices.Contains(born.Left, id) })
}

func (f *Forming) configured(is func(id uint64) bool) (names []string) {
	c := &f.config
	for _, name := range slices.Sorted(maps.Keys(c.Nodes)) {
		if is(members.RaftID(c.Region, name)) {
			names = append(names, name)
		}
	}
	return names
}
