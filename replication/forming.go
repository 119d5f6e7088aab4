package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// forming is how a node whose data directory is empty comes to take part in its region. It has forgotten whatever it
// may have promised and acknowledged there, and so have others that are empty: what the region acknowledged may be on a
// node that does not answer. So it hears nobody and votes for nobody until it knows that this disk, and no other of its
// own, is the one that the region counts on:
//
//  1. every other node says that its disk is empty too: the region is formed, with these disks;
//  2. or a node of the region says that it was formed with this very disk among them;
//  3. or so many nodes with data say that they do not know this one that one of them is in every majority of the region
//     with it: it was never there.
//
// A node that says that it knows this one with data, or that it was removed, ends it. Its methods are safe for
// concurrent use.
type forming struct {
	node *node

	mu     sync.Mutex
	blank  bool
	formed map[uint64]string // the disks with which the region was formed, by Raft identity
	lacks  string            // for whom a blank node waits, in words
}

// formingEvery is how often a node that waits asks the others.
const formingEvery = 200 * time.Millisecond

func newForming(n *node, fresh bool, formed map[uint64]string) *forming {
	return &forming{node: n, blank: fresh && !n.config.Join && len(n.config.Nodes) > 1, formed: formed}
}

// waits reports whether the node takes no part yet.
func (f *forming) waits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blank
}

// problem says for whom the node waits, "" if it does not.
func (f *forming) problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.blank {
		return ""
	}
	return "the data directory is empty, and the node takes no part in its region before it knows that the region " +
		"has lost nothing by that: " + f.lacks
}

// part is what others are told.
func (f *forming) part() recall.Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := recall.Part{Formed: f.formed}
	if f.blank {
		p.Blank = f.node.disk.ID
	}
	return p
}

// told is what another node of the region said.
type told struct {
	node   string
	id     uint64
	silent bool
	blank  string            // its disk, if that is empty; "": it holds something
	formed map[uint64]string // with which disks it says that the region was formed
	ends   error             // why this node must not take part
}

// run asks until the node may take part, and has it do so. Its error says why it never may.
func (f *forming) run(ctx context.Context) error {
	if !f.waits() {
		return nil
	}
	n, logged := f.node, ""
	for began := n.config.Clock.Now(); ; {
		if err := f.ask(ctx); err != nil {
			return err
		}
		why := f.problem()
		if why == "" {
			n.group.TakePart()
			return nil
		}
		if n.config.Clock.Now().Sub(began) > n.config.callTimeout() && why != logged {
			n.logger.Warn("takes no part in its region yet", "waits", why)
			logged = why
		}
		if n.life.Pause(ctx, formingEvery) != nil {
			return nil
		}
	}
}

// ask asks the other nodes once, and notes on disk that the node takes part, if it may. Its error says why it never
// may.
func (f *forming) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.node.config.callTimeout())
	defer cancel()
	c := &f.node.config
	var all []told
	var mu sync.Mutex
	var asked sync.WaitGroup
	for name, addr := range c.Nodes {
		if name != c.NodeID {
			asked.Go(func() {
				t := f.askOne(ctx, name, addr)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, t)
			})
		}
	}
	asked.Wait()
	slices.SortFunc(all, func(a, b told) int { return strings.Compare(a.node, b.node) })
	for _, t := range all {
		if t.ends != nil {
			return t.ends
		}
	}
	if !f.waits() {
		return nil
	}
	formed, lacks := f.judge(all)
	if lacks != "" {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lacks = lacks
		return nil
	}
	if _, ready := f.node.life.Started(); !ready {
		return nil // it asks once more when it can be asked
	}
	if err := markDirectory(c.FS, c, formed); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blank, f.formed = false, formed
	return nil
}

// judge returns the disks with which the region was formed, nil if nobody knows, or why this node must wait.
func (f *forming) judge(all []told) (formed map[uint64]string, lacks string) {
	own := f.node.disk.ID
	blank := map[uint64]string{f.node.id: own}
	var empty, silent []string
	holding := 0
	for _, t := range all {
		switch {
		case t.silent:
			silent = append(silent, t.node)
		case t.formed[f.node.id] == own:
			return t.formed, ""
		case t.blank != "":
			blank[t.id] = t.blank
			empty = append(empty, t.node)
		default:
			holding++
		}
	}
	nodes := len(all) + 1
	majority := nodes/2 + 1 // of which this one was a part, if it was there: the rest of it holds data
	switch {
	case len(empty) == len(all):
		return blank, ""
	case holding > nodes-majority:
		return nil, ""
	}
	if len(silent) == 0 { // some hold data, and they are too few to be sure
		return nil, fmt.Sprintf("%s are empty, and what the others hold is less than a majority of the region: %s",
			strings.Join(append(empty, f.node.config.NodeID), ", "), wayOut)
	}
	lacks = fmt.Sprintf("waits for %s, which may hold what the region acknowledged, and does not answer: start it",
		strings.Join(silent, ", "))
	return nil, lacks + "; if it never was, or is lost for good, start a new node in its place, with an empty data " +
		"directory"
}

// wayOut is what to do where an empty node is known with data.
const wayOut = "where a majority of the region's nodes has lost its disks: fail over to another region, empty the " +
	"data directories of all nodes of this one, and start them"

// askOne asks another node of the region, at addr.
func (f *forming) askOne(ctx context.Context, name, addr string) told {
	n, q := f.node, newInquiry(f.node)
	t := told{node: name, id: members.RaftID(n.config.RegionID, name)}
	if members.Known(ctx, n.client, addr, n.config.RegionID, q.self) {
		t.ends = fmt.Errorf("%w, says node %s; a name is not used twice: add it under another", ErrRemoved, name)
		return t
	}
	r, err := q.report(ctx, addr)
	if err != nil {
		t.silent = true
		return t
	}
	if slices.ContainsFunc(r.Members, func(m timeline.Member) bool { return m.ID == n.id }) {
		t.ends = f.known(name)
		return t
	}
	a, spoke, err := recall.Ask(ctx, n.client, addr,
		recall.Question{ID: n.id, Disk: n.disk.ID, Boot: n.disk.Boot})
	switch {
	case err != nil && spoke:
		t.silent = true
	case a.Part != nil:
		t.blank, t.formed = a.Part.Blank, maps.Clone(a.Part.Formed)
		if with, ok := t.formed[n.id]; ok && with != n.disk.ID {
			t.ends = f.known(name)
		}
	case r.Index == 0 && r.LeaderID == 0 && len(r.Members) == 0: // of a version that does not say: it has heard nobody
		t.blank = r.Disk
	}
	return t
}

// known says that another node knows this one with data.
func (f *forming) known(by string) error {
	c := &f.node.config
	return fmt.Errorf("%w: node %s knows %s as a member with data, but %s is empty; remove the member and add it "+
		"again under a new name; %s", ErrDiskLost, by, c.NodeID, c.DataDir, wayOut)
}
