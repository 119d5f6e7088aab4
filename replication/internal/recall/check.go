package recall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// Question is about the node that asks. It travels as JSON: never change a name.
type Question struct {
	ID   uint64 `json:"id"` // its Raft identity
	Disk string `json:"disk"`
	Boot string `json:"boot"`
	At   uint64 `json:"at,omitempty"` // an entry of the region's log, of which it wants to know the term
	// Part is what the node that asks says of itself; nil: it is of a version that does not say.
	Part *Part `json:"part,omitempty"`
	// Of are Raft identities, of whose logs it wants to know what the asked one remembers.
	Of []uint64 `json:"of,omitempty"`
}

// Answer is what the asked node knows of the one that asks.
type Answer struct {
	Node string `json:"node"` // that answers
	// Region is that of the node that answers; "": it is of a version that does not say.
	Region string `json:"region,omitempty"`
	Seen   Seen   `json:"seen"` // of the disk, by earlier processes, whether sealed or not
	// Words are those of them that are sealed: a disk that seals believes these alone.
	Words []Word `json:"words,omitempty"`
	// Match is the last entry that the asking node acknowledged to this one, its leader; zero: this one does not lead.
	Match uint64 `json:"match,omitempty"`
	// Log is the log of the asked node; nil: it is of a version that does not say.
	Log *Log `json:"log,omitempty"`
	// Part is what the asked node has to do with the forming of its region; nil: it is of a version that does not say.
	Part *Part `json:"part,omitempty"`
	// Furthest is the last entry that any disk of those in Of was heard to hold, zero if none was; nil: no question
	// was about them, or the asked node is of a version that does not say.
	Furthest *uint64 `json:"furthest,omitempty"`
}

// Part is what a node says of whether it takes part in its region.
type Part struct {
	// Blank is the identity of the node's disk while that is empty and the node takes no part yet; else "".
	Blank string `json:"blank,omitempty"`
	// Sown is with what a directory was sown on a Blank disk: equal where they were sown alike; "" if with nothing.
	Sown string `json:"sown,omitempty"`
	// Formed are the disks, by Raft identity, that were all empty when the region was formed; nil: the node was not
	// there, and nobody told it when it came.
	Formed map[uint64]string `json:"formed,omitempty"`
	// Left are the nodes, by Raft identity, without which the region was formed, and that have not joined it since:
	// they did not answer. What they may hold is not of this region.
	Left []uint64 `json:"left,omitempty"`
}

// Of reports whether the node id, which says own of itself, may speak in a region that says p: it may not if the region
// was formed without it, unless its disk was empty when it came, or is one with which the region was formed.
func (p Part) Of(id uint64, own Part) bool {
	if !slices.Contains(p.Left, id) || own.Blank != "" {
		return true
	}
	return p.shares(own)
}

// Strange reports whether who says own is of another life of the region than who says p: both know how it was formed,
// and with no disk in common.
func (p Part) Strange(own Part) bool {
	return len(p.Formed) > 0 && len(own.Formed) > 0 && !p.shares(own)
}

// shares reports whether a disk is known to both with which the region was formed.
func (p Part) shares(o Part) bool {
	return fleet.SameLife(p.Formed, o.Formed)
}

// Log is what a node says of its region's log.
type Log struct {
	Leads uint64 `json:"leads,omitempty"` // the term that it leads; zero: it does not
	Ends  uint64 `json:"ends"`
	// Last is the last entry of it, with its term; zero: the asked node is of a version that does not say.
	Last     uint64 `json:"last,omitempty"`
	LastTerm uint64 `json:"lastTerm,omitempty"`
	// Committed is up to where the asked node knows that its region agreed; zero: it is of a version that does not say.
	Committed uint64 `json:"committed,omitempty"`
	// CommittedTerm is the term of that entry; zero: it is not in the log, or the asked node is of a version that does
	// not say.
	CommittedTerm uint64 `json:"committedTerm,omitempty"`
	Term          uint64 `json:"term,omitempty"` // of the entry that was asked for; zero: it is not there
	// Ahead is an entry that the asking node has committed, and that was beyond the end of this log when it said so;
	// zero: there was none, or the asked node is of a version that does not say.
	Ahead uint64 `json:"ahead,omitempty"`
}

// ask asks what a node remembers of this one. The name is on the wire.
const ask = peer.Question[Question, Answer]("recall")

// Register makes the node of this name and region answer from m, by account from its region's log: what a member
// acknowledged to it, and how it is, with the term of the entry at; and what part says, which is told what is asked.
func Register(
	to *peer.Registry, region, node string, m *Memory, account func(member, at uint64) (match uint64, log Log),
	part func(context.Context, Question) Part,
) {
	peer.Handle(to, ask, peer.Anyone, func(ctx context.Context, q Question) (Answer, error) {
		a := Answer{Node: node, Region: region, Part: new(part(ctx, q))}
		a.Seen, a.Words = m.Before(q.ID, Disk{ID: q.Disk, Boot: q.Boot})
		if len(q.Of) > 0 {
			a.Furthest = new(m.Furthest(q.Of))
		}
		match, log := account(q.ID, q.At)
		a.Match, a.Log = match, &log
		return a, nil
	})
}

// Ask asks one node. known is false if it is of a version that does not know the question.
func Ask(ctx context.Context, c *peer.Client, addr string, q Question) (a Answer, known bool, err error) {
	a, err = peer.Ask(ctx, c, addr, ask, q)
	var remote *peer.RemoteError
	if errors.As(err, &remote) && !peer.Elsewhere(err) {
		return a, false, nil
	}
	return a, true, err
}

// Config is what a Check needs.
type Config struct {
	ID     uint64 // Raft identity of this node
	Node   string // its name
	Region string
	Disk   Own
	Last   uint64 // the last entry on its disk, when it started
	Term   uint64 // and the term up to which it had come
	Part   Part   // of this node, when it started
	// Siblings returns the addresses that the others of its region may have, as far as they are known by now.
	Siblings func() []string
	Others   []string // and of nodes of other regions
	Agreed   *Agreed  // takes what siblings say of how far the region agreed
	Memory   *Memory  // keeps what of that this node lacks; nil: nobody does
	// Answered is told what who answers at an address of a sibling says of how its region was formed. May be nil.
	Answered func(addr, node string, p Part)
	Ground   Ground
	Timeout  time.Duration // of one question
	Clock    clock.Clock
	Client   *peer.Client
}

// again is the pause before those that did not answer are asked anew.
const again = time.Second

// Check asks the others what they remember of this node. It is used by one goroutine at a time.
type Check struct {
	config Config
	left   []string // addresses without an answer; those of siblings are in of
	of     map[string]bool
	serves bool   // what the leader has from this node may be of this process
	told   bool   // for whom the node waited in vain
	formed []Part // what siblings said of how the region was formed, that know it
}

// NewCheck returns a Check that has asked nobody.
func NewCheck(c Config) *Check {
	check := &Check{config: c, left: slices.Clone(c.Others), of: map[string]bool{}}
	check.recollect()
	return check
}

// find has those asked as well who were found since.
func (c *Check) find() {
	for _, addr := range c.config.Siblings() {
		if !c.of[addr] {
			c.of[addr] = true
			c.left = append(c.left, addr)
		}
	}
}

// Ask asks everybody who has not answered, all at once, before this node serves. Its error is ErrDiskLost if one of
// them knows that the disk went back; that somebody does not answer is none.
func (c *Check) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	c.find()
	errs := make([]error, len(c.left))
	silent := make([]bool, len(c.left))
	parts := make([]*Part, len(c.left))
	at := c.config.Ground.committed()
	var wg sync.WaitGroup
	for i, addr := range c.left {
		wg.Go(func() {
			a, known, err := Ask(ctx, c.config.Client, addr, Question{
				ID: c.config.ID, Disk: c.config.Disk.ID, Boot: c.config.Disk.Boot, At: at, Part: &c.config.Part,
			})
			if silent[i] = err != nil; known && err == nil {
				parts[i] = a.Part
				sibling := c.of[addr] && c.ofRegion(&a)
				silent[i] = c.of[addr] && !sibling // the sibling may come back to where it was
				if errs[i] = c.judge(a); errs[i] == nil && sibling {
					c.hear(&a, at)
				}
				if sibling && a.Part != nil && c.config.Answered != nil {
					c.config.Answered(addr, a.Node, *a.Part)
				}
			}
		})
	}
	wg.Wait()
	var left []string
	for i, addr := range c.left {
		switch {
		case silent[i]:
			left = append(left, addr)
		case c.of[addr] && parts[i] != nil && len(parts[i].Formed) > 0:
			c.formed = append(c.formed, *parts[i])
		}
	}
	c.left = left
	return first(append(errs, c.outvoted()))
}

// ofRegion reports whether who answers is of this node's region, as far as it says: an address of a sibling may be that
// of a node of another region by now, which may have the name of a sibling.
func (c *Check) ofRegion(a *Answer) bool { return a.Region == "" || a.Region == c.config.Region }

// alike reports whether a sibling is of the life of the region of which this node is: one of another life, which may be
// at an address of this one, says nothing of it. One that says nothing of how its region was formed is of none, and so
// is a node that was empty when it started: what it came to be part of since is not what was there before.
func (c *Check) alike(p *Part) bool {
	if p == nil || c.config.Part.Blank != "" {
		return false
	}
	own := c.config.Part
	return own.shares(*p) || len(own.Formed) == 0 && len(p.Formed) == 0
}

// Formed returns how the region was formed, by what the siblings said that have answered; the zero Part if none of them
// knows, if they are of several lives of it, or if less than a majority of them says it: who formed the region anew by
// itself may be the only one that answers. It is for a node that joins.
func (c *Check) Formed() Part {
	for _, p := range c.formed {
		if !p.shares(c.formed[0]) {
			return Part{}
		}
	}
	if len(c.formed) <= len(c.of)/2 {
		return Part{}
	}
	left := slices.DeleteFunc(slices.Clone(c.formed[0].Left), func(id uint64) bool { return id == c.config.ID })
	return Part{Formed: c.formed[0].Formed, Left: left}
}

// first returns one of the errors, nil if there is none: each says all that an operator needs, in one line.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Run asks on, while this node serves, until everybody has answered or ctx ends, and returns as Ask does.
func (c *Check) Run(ctx context.Context) error {
	c.serves = true
	timer := c.config.Clock.NewTimer(c.pause())
	defer timer.Stop()
	for len(c.left) > 0 || len(c.config.Agreed.Lacks(c.config.Ground.voters())) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		}
		if err := c.Ask(ctx); err != nil {
			return err
		}
		c.await(ctx)
		timer.Reset(c.pause())
	}
	return nil
}

// seen returns what counts of what another node remembers of this disk. What anybody can have said in its name does
// only at the one start at which it began to seal: what it said before is not.
func (c *Check) seen(a Answer) (s Seen) {
	if !c.config.Disk.Seals() {
		return a.Seen
	}
	for _, w := range a.Words {
		if c.config.Disk.said(w) {
			s = s.max(Seen{Starts: w.Starts, Index: w.Index})
		}
	}
	return s
}

// judge compares what another node remembers with what this one had when it started.
func (c *Check) judge(a Answer) error {
	const way = "this data directory is an older copy, or lost what it held; remove the member and add it again " +
		"under " +
		"a new name"
	o, seen := &c.config, c.seen(a)
	switch {
	case a.Part != nil && !a.Part.Of(o.ID, o.Part):
		return fmt.Errorf("%w: %s was formed without %s, says %s, and what this data directory holds is of an older "+
			"life of the region: keep it if it may hold what others have not, and start the node with an empty one",
			contract.ErrDiskLost, o.Region, o.Node, a.Node)
	case !c.serves && a.Match > o.Last && (a.Log == nil || a.Log.Leads >= o.Term):
		// who led an earlier term may not know yet that a later leader had this node replace what nobody agreed on
		return fmt.Errorf("%w: %s acknowledged entry %d of its region's log to %s, and holds %d: %s",
			contract.ErrDiskLost, o.Node, a.Match, a.Node, o.Last, way)
	case seen.Index > o.Last:
		return fmt.Errorf("%w: %s has heard that %s holds entry %d of its region's log, and it holds %d: %s",
			contract.ErrDiskLost, a.Node, o.Node, seen.Index, o.Last, way)
	case seen.Starts >= o.Disk.Starts:
		return fmt.Errorf("%w: %s has heard of start %d of %s, and this is start %d: %s",
			contract.ErrDiskLost, a.Node, seen.Starts, o.Node, o.Disk.Starts, way)
	default:
		return nil
	}
}
