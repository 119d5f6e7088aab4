package forming

import (
	"context"
	"maps"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

// learnEvery is how often a node that does not know how its region was formed looks for who tells it.
const learnEvery = 10 * time.Second

// Group is what Learn needs to know of the region's Raft group.
type Group struct {
	// Ended is where the log of this node ended when it started.
	Ended uint64
	// Leader returns the Raft identity of the leader, zero if none is known, and its term.
	Leader  func() (id, term uint64)
	Members func() []uint64
	// Match returns the last entry that a member acknowledged to this node, zero if this one does not lead.
	Match func(member uint64) uint64
	Addr  func(member uint64) (string, bool)
}

// Learn has a node that does not know how its region was formed learn it: nobody told it when it joined, or the version
// that it was then did not ask. What such a node says of the region's log counts for nobody who knows, and what others
// say not for it, since it could be of another life of the region. It is not, once one of the two leads and the other
// has acknowledged everything to it that this node's log had when it started, and has it still. Learn returns when the
// node knows.
func (f *Forming) Learn(ctx context.Context, g Group) {
	for f.Waits() || f.Part().Formed == nil {
		if f.config.Life.Pause(ctx, learnEvery) != nil {
			return
		}
		if f.Waits() {
			continue
		}
		born, ok := f.learn(ctx, &g)
		if !ok {
			continue
		}
		if err := f.config.Note(born); err != nil {
			f.config.Logger.Warn("cannot note how the region was formed; tries on", "err", err)
			continue
		}
		f.Joined(born)
		f.config.Logger.Info("learnt how the region was formed", "with", f.names(born), "without", f.leftOut(born))
	}
}

// learn asks the leader, or, where this node leads, who follows it.
func (f *Forming) learn(ctx context.Context, g *Group) (born recall.Part, ok bool) {
	self := f.config.Self.ID
	leader, term := g.Leader()
	if leader != self {
		a, answered := f.askMember(ctx, g, leader)
		if !answered || a.Log == nil || a.Log.Leads != term || a.Match < g.Ended {
			return recall.Part{}, false
		}
		return f.bornAs(a.Part)
	}
	for _, id := range g.Members() {
		if id == self || g.Match(id) < max(g.Ended, 1) {
			continue
		}
		a, answered := f.askMember(ctx, g, id)
		if !answered || a.Log == nil || a.Log.Ends < g.Match(id) {
			continue // it has lost what it acknowledged, and may be of any life
		}
		if p, knows := f.bornAs(a.Part); knows && ok && p.Strange(born) {
			return recall.Part{}, false
		} else if knows {
			born, ok = p, true
		}
	}
	return born, ok
}

func (f *Forming) askMember(ctx context.Context, g *Group, id uint64) (a recall.Answer, answered bool) {
	addr, known := g.Addr(id)
	if !known {
		return a, false
	}
	c := &f.config
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	a, known, err := recall.Ask(ctx, c.Client, addr,
		recall.Question{ID: c.Self.ID, Disk: c.Disk.ID, Boot: c.Disk.Boot, Part: new(f.Part())})
	return a, known && err == nil && members.RaftID(c.Region, a.Node) == id && (a.Region == "" || a.Region == c.Region)
}

// bornAs returns what another node said of how the region was formed, as this one notes it.
func (f *Forming) bornAs(p *recall.Part) (born recall.Part, ok bool) {
	if p == nil || len(p.Formed) == 0 {
		return born, false
	}
	return recall.Part{Formed: maps.Clone(p.Formed), Left: without(p.Left, f.config.Self.ID)}, true
}
