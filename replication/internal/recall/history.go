package recall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// ErrOutvoted says that most voters of the region have agreed on another entry in the place of one that this node has
// committed: the region has two histories, and goes on with theirs. What this node has may be the only copy.
var ErrOutvoted = errors.New("recall: the region goes on without what this node has committed")

// Patience is for how long, at least, a node that starts helps nobody to lead before it has heard all other voters: who
// comes later is not waited for.
const Patience = 5 * time.Second

// soon is the pause between two questions while the node waits for answers.
const soon = 200 * time.Millisecond

// Ground is what the node that asks has itself. A nil func is one that knows nothing.
type Ground struct {
	// Committed is up to where it knows that the region agreed, which its log has.
	Committed func() uint64
	// Term returns that of an entry of the log, 0 if that does not say.
	Term   func(index uint64) uint64
	Voters func() []uint64          // of the region
	Number func(node string) uint64 // the Raft identity of a node
	Name   func(id uint64) string
	Logger *slog.Logger // where there are Voters
}

func (g *Ground) committed() uint64 {
	if g.Committed == nil {
		return 0
	}
	return g.Committed()
}

func (g *Ground) term(index uint64) uint64 {
	if g.Term == nil {
		return 0
	}
	return g.Term(index)
}

func (g *Ground) voters() []uint64 {
	if g.Voters == nil {
		return nil
	}
	return g.Voters()
}

func (g *Ground) number(node string) uint64 {
	if g.Number == nil {
		return 0
	}
	return g.Number(node)
}

// names returns those of nodes, in order.
func (g *Ground) names(ids []uint64) (list []string) {
	for _, id := range ids {
		if g.Name != nil {
			list = append(list, g.Name(id))
		}
	}
	slices.Sort(list)
	return list
}

// has reports whether this node needs nobody to have e: it has it, or has committed what came in its place.
func (g *Ground) has(e Entry) bool {
	at := g.committed()
	return at >= e.Index || g.term(e.Index) == e.Term || g.term(at) > e.Term
}

// parts reports whether a log, whose node was asked for the entry at, which this one had committed, is of another
// history: both agreed on an entry, and not on the same one. Logs of one history never do. Where a log has let go of
// the entry, it is known by the others, since terms do not fall in a log.
func (g *Ground) parts(l *Log, at uint64) bool {
	own := g.term(at)
	switch {
	case at == 0 || own == 0 || l.CommittedTerm == 0:
		return false
	case at <= l.Committed:
		return l.Term != 0 && l.Term != own || l.CommittedTerm < own
	default:
		before := g.term(l.Committed)
		return before != 0 && before != l.CommittedTerm || l.CommittedTerm > own
	}
}

// hear takes what a sibling said of its log, of whose entry at the term was asked.
func (c *Check) hear(a *Answer, at uint64) {
	o := &c.config
	id := o.Ground.number(a.Node)
	switch {
	case a.Log == nil || !c.alike(a.Part):
	case o.Ground.parts(a.Log, at):
		if o.Agreed.part(id, a.Node) {
			c.part(a)
		}
	default:
		e := Entry{a.Log.Committed, a.Log.CommittedTerm, a.Node}
		if o.Agreed.note(e); o.Memory != nil && e.Term != 0 && !o.Ground.has(e) {
			o.Memory.Owe(e)
		}
		o.Agreed.reach(Entry{a.Log.Last, a.Log.LastTerm, a.Node})
	}
	o.Agreed.hear(id) // last: who is not awaited any more is taken into account
}

// part says that the region has two histories.
func (c *Check) part(a *Answer) {
	o := &c.config
	if o.Memory != nil && o.Memory.Owed().By == a.Node {
		o.Memory.Owe(Entry{})
	}
	o.Ground.Logger.Error("a member has committed another entry than this node has in its place: disks of this region "+
		"went back in time, and it has two histories, of which one is lost; this node does not vote for that member, "+
		"whose directory may hold writes that the region has lost", "member", a.Node, "committed", a.Log.Committed,
		"term", a.Log.CommittedTerm)
}

// recollect takes what an earlier process was told was agreed on, and this disk lacks.
func (c *Check) recollect() {
	o := &c.config
	if o.Memory == nil {
		return
	}
	switch e := o.Memory.Owed(); {
	case e.Index == 0:
	case o.Ground.has(e):
		o.Memory.Owe(Entry{})
	default:
		o.Agreed.note(e)
	}
}

// outvoted returns an error if most voters are of another history than this node.
func (c *Check) outvoted() error {
	o := &c.config
	voters := o.Ground.voters()
	others := slices.DeleteFunc(slices.Clone(voters), func(id uint64) bool { return !o.Agreed.Parted(id) })
	if len(others) <= len(voters)/2 {
		return nil
	}
	return fmt.Errorf("%w: %s have agreed on other entries of the log of %s than %s: disks of this region went back "+
		"in time; keep the directory of this node, it may hold writes that the region has lost, and do not start it "+
		"again as it is: remove the member and add it again under a new name", ErrOutvoted,
		strings.Join(o.Ground.names(others), ", "), o.Region, o.Node)
}

// await tells once, when the wait is over, that voters were not heard. ctx is of the node.
func (c *Check) await(ctx context.Context) {
	o := &c.config
	if c.told || !o.Agreed.waited() || ctx.Err() != nil {
		return
	}
	c.told = true
	if ids := o.Agreed.Lacks(o.Ground.voters()); len(ids) > 0 {
		o.Ground.Logger.Warn("this node takes part in elections without having heard of all voters since it started: "+
			"if disks of this region lost what they had synced, what these have alone of what was acknowledged is not "+
			"known here, and is lost to the region if somebody leads without them", "unheard", o.Ground.names(ids))
	}
}

// pause is the time until who did not answer is asked anew.
func (c *Check) pause() time.Duration {
	if c.config.Agreed.Waiting() {
		return soon
	}
	return again
}
