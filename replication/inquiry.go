package replication

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/forming"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// inquiry is what a node asks others before it takes part, and how they are.
type inquiry struct {
	config    *Config
	self      timeline.Member
	client    *peer.Client
	directory *members.Directory
	part      func() recall.Part         // how the region was formed, as far as is known here
	others    func() map[string][]string // the other regions, with where they are said to be
}

func newInquiry(n *node) inquiry {
	return inquiry{&n.config, n.self(), n.client, n.directory, n.forming.Part,
		func() map[string][]string { return n.roster.Others() }}
}

// askTimeout bounds the questions about a node's own past, for which its start waits.
const askTimeout = time.Second

// recallPatience is for how long a node that starts waits for the word of all voters, before it helps anybody to lead.
func (c *Config) recallPatience() time.Duration {
	return max(recall.Patience, 5*c.TickInterval*time.Duration(c.ElectionTicks))
}

// pastOf returns what asks every other node whether this one's disk went back, and takes note of how far those of its
// region agreed.
func (q inquiry) pastOf(n *node) *recall.Check {
	c := q.config
	var others []string
	regions := q.others()
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		others = append(others, regions[region]...)
	}
	return recall.NewCheck(recall.Config{
		ID: q.self.ID, Node: c.NodeID, Region: c.RegionID, Disk: n.disk,
		Last: max(n.log.LastIndex(), n.applied.View().Index), Term: n.log.HardState().GetTerm(),
		Part:     q.part(),
		Siblings: q.directory.Everywhere, Others: others, Agreed: &n.agreed, Memory: n.memory, Ground: groundOf(n),
		Answered: func(addr, node string, p recall.Part) {
			id := members.RaftID(c.RegionID, node)
			if slices.Contains(q.directory.Addresses(id), addr) { // else it is where another one was
				n.forming.Answered(id, map[string]map[uint64]string{addr: p.Formed})
			}
		},
		Timeout: min(askTimeout, c.callTimeout()), Clock: c.Clock, Client: q.client,
	})
}

// groundOf is what a node has itself of its region's log.
func groundOf(n *node) recall.Ground {
	log, group, region := n.log, n.group, n.config.RegionID
	return recall.Ground{
		Committed: func() uint64 { // and no entry of which the log may still have another one
			s := group.Status()
			return min(s.Commit, max(s.Applied, log.HardState().GetCommit()))
		},
		Term: func(index uint64) uint64 {
			term, _ := log.Term(index) // an error says that it is not there
			return term
		},
		Voters: group.Voters,
		Number: func(name string) uint64 { return members.RaftID(region, name) },
		Name:   n.directory.Name, Logger: n.logger,
	}
}

// groupToLearn is the group of a node as forming.Learn needs it, before that runs.
func groupToLearn(n *node) forming.Group {
	group := n.group
	return forming.Group{
		Ended: max(n.log.LastIndex(), n.applied.View().Index), Leader: group.Leader, Members: group.Voters,
		Match: func(member uint64) uint64 {
			match, _ := group.account(member, 0)
			return match
		},
		Addr: n.directory.Addr,
	}
}

// account asks a member of this region what it knows of this node, whose disk is this, and of the entry at. One of a
// version that does not know the question says that it has everything that was said in its name.
func (q inquiry) account(ctx context.Context, disk recall.Disk, member, at uint64) (raftgroup.Account, error) {
	addr, ok := q.directory.Addr(member)
	if !ok {
		return raftgroup.Account{}, fmt.Errorf("%w: nobody knows where the member is", ErrNotReady)
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.callTimeout())
	defer cancel()
	a, known, err := recall.Ask(ctx, q.client, addr,
		recall.Question{ID: q.self.ID, Disk: disk.ID, Boot: disk.Boot, At: at, Part: new(q.part())})
	switch {
	case err != nil:
		return raftgroup.Account{}, err
	case !known:
		return raftgroup.Account{Match: math.MaxUint64}, nil
	case a.Log == nil:
		return raftgroup.Account{Match: a.Match}, nil
	}
	return raftgroup.Account{
		Match: a.Match, Whole: true, Leads: a.Log.Leads, Ends: a.Log.Ends, Term: a.Log.Term,
		Ahead: a.Log.Ahead,
	}, nil
}

// report asks the node at addr how it is.
func (q inquiry) report(ctx context.Context, addr string) (fleet.Report, error) {
	return overview.Ask(ctx, q.client, addr, overview.Asker{Region: q.config.RegionID, Member: q.self})
}

// understood returns nil if every node of every region says that it understands what is of level, or which does not:
// ErrOldNode if one is known that does not, whoever does not answer.
func (q inquiry) understood(ctx context.Context, v fleet.View, level timeline.Level) error {
	var silent error
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		r := v.Regions[name]
		if r.Level < level {
			return fmt.Errorf("%w: a node of region %s is too old: upgrade all nodes first", contract.ErrOldNode, name)
		}
		silent = cmp.Or(silent, silentOf(&r))
	}
	if *q.config.EntryLevel < level {
		return fmt.Errorf("%w: node %s is too old: upgrade all nodes first", contract.ErrOldNode, q.config.NodeID)
	}
	for _, addr := range q.directory.Others() {
		if r, err := q.report(ctx, addr); err != nil {
			silent = cmp.Or(silent, fmt.Errorf("the node at %s of this region does not answer: %w", addr, err))
		} else if r.Level < level {
			return fmt.Errorf("%w: node %s is too old: upgrade all nodes first", contract.ErrOldNode, r.Node)
		}
	}
	return silent
}

// silentOf says who of a region does not answer, nil if all of it does.
func silentOf(r *fleet.Region) error {
	l := r.Leader()
	if l == nil {
		return fmt.Errorf("no leader of region %s answers", r.Name)
	}
	for _, o := range l.Nodes {
		if !slices.ContainsFunc(r.Nodes, func(h fleet.Heard) bool { return h.ID == o.ID }) {
			return fmt.Errorf("node %s of region %s does not answer", cmp.Or(o.Name, fmt.Sprintf("%x", o.ID)), r.Name)
		}
	}
	return nil
}

// configured returns the regions that are in the configuration of any node which answers, with whose.
func (q inquiry) configured(ctx context.Context, v fleet.View) map[string]string {
	seen := map[string]string{}
	note := func(r *fleet.Report) {
		for _, name := range r.Configured {
			seen[name] = "it is in the configuration of " + r.Node
		}
	}
	for _, r := range v.Regions {
		for i := range r.Nodes {
			note(&r.Nodes[i].Report)
		}
	}
	for _, addr := range q.directory.Others() {
		if r, err := q.report(ctx, addr); err == nil {
			note(&r)
		}
	}
	return seen
}

// siblingsLevel asks the other nodes of the region, and returns the lowest level of this node and those that answer.
func (q inquiry) siblingsLevel(ctx context.Context) timeline.Level {
	return q.lowest(ctx, *q.config.EntryLevel)
}

// wholeLevel is siblingsLevel for what can wait: a node that does not answer may be as old as any.
func (q inquiry) wholeLevel(ctx context.Context) timeline.Level {
	return q.lowest(ctx, timeline.LevelFirst)
}

// lowest returns the lowest level of this node and the others of the region, where one that does not answer is of the
// level silent.
func (q inquiry) lowest(ctx context.Context, silent timeline.Level) timeline.Level {
	others := q.directory.Others()
	levels := make([]timeline.Level, len(others))
	var asked sync.WaitGroup
	for i, addr := range others {
		asked.Go(func() {
			levels[i] = silent
			if r, err := q.report(ctx, addr); err == nil {
				levels[i] = r.Level
			}
		})
	}
	asked.Wait()
	return slices.Min(append(levels, *q.config.EntryLevel))
}
