package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// forming is how a node whose data directory is empty, or was sown and not used since, comes to take part in its
// region. It has forgotten whatever it may have promised and acknowledged there, and so have others that are empty:
// what the region acknowledged may be on a node that does not answer. So it hears nobody and votes for nobody until it
// knows that this disk, and no other of its own, is the one that the region counts on:
//
//  1. every other node says that its disk is empty too, or sown: the region is formed, with these disks;
//  2. or a node of the region says that it was formed with this very disk among them;
//  3. or so many nodes with data say that they do not know this one that one of them is in every majority of the region
//     with it: it was never there;
//  4. or a majority of the region is empty, nobody who answers holds anything, and it is the first day of the fleet,
//     as the other regions say (firstDay), or an operator, who vouches for those that do not answer (form).
//
// By 4 the region is formed without some of its nodes, and says so from then on (recall.Part.Left): one of them that
// comes with an empty disk joins, by 3; one that comes with data is not heard, and ends.
//
// Nodes that are sown form it only with others that are sown alike, and that are a majority, so that nobody leads it
// who has nothing. What they hold is of no region that lives: by 3 they join none.
//
// A node that says that it knows this one with data, or that it was removed, ends it. Its methods are safe for
// concurrent use.
type forming struct {
	node  *node
	began time.Time
	sown  string     // with what a blank node was sown, "" if with nothing
	turn  sync.Mutex // held while the others are asked

	mu     sync.Mutex
	blank  bool
	born   recall.Part     // with which disks the region was formed, and without whom
	lacks  string          // for whom a blank node waits, in words
	proven map[uint64]bool // who of those without whom the region was formed said that it is of this region
}

// formingEvery is how often a node that waits asks the others.
const formingEvery = 200 * time.Millisecond

func newForming(n *node, blank bool, found claim) *forming {
	return &forming{
		node: n, began: n.config.Clock.Now(), blank: blank && !n.config.Join && len(n.config.Nodes) > 1,
		born: found.born, sown: found.sown, proven: map[uint64]bool{},
	}
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
	what := "is empty"
	if f.sown != "" {
		what = "was restored"
	}
	return "the data directory " + what + ", and the node takes no part in its region before it knows that the " +
		"region has lost nothing by that: " + f.lacks
}

// part is what others are told.
func (f *forming) part() recall.Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := recall.Part{Formed: f.born.Formed}
	if f.blank {
		p.Blank, p.Sown = f.node.disk.ID, f.sown
	}
	for _, id := range f.born.Left {
		if !f.joined(id) {
			p.Left = append(p.Left, id)
		}
	}
	return p
}

// told is part, for who asks, and notes what that one says of itself.
func (f *forming) told(q recall.Question) recall.Part {
	p := f.part()
	if slices.Contains(p.Left, q.ID) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.proven[q.ID] = q.Part != nil && p.Of(q.ID, *q.Part)
	}
	return p
}

// admits reports whether the node with this Raft identity is heard.
func (f *forming) admits(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.Contains(f.born.Left, id) || f.proven[id] || f.joined(id)
}

// joined reports whether a node of the region has described itself.
func (f *forming) joined(id uint64) bool {
	return slices.ContainsFunc(f.node.applied.State().Members, func(m timeline.Member) bool { return m.ID == id })
}

// said is what another node of the region said.
type said struct {
	node   string
	id     uint64
	silent bool
	blank  string            // its disk, if that is empty or sown; "": it holds something
	sown   string            // with what that is sown
	formed map[uint64]string // with which disks it says that the region was formed
	left   []uint64          // and without whom
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
			f.tell()
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
	_, _, err := f.take(ctx, func() string { return f.firstDay(ctx) })
	return err
}

// take is ask; notFirst says why it is not the first day of the fleet, "" if it is. lacks says why the node still does
// not take part.
func (f *forming) take(ctx context.Context, notFirst func() string) (born recall.Part, lacks string, err error) {
	f.turn.Lock()
	defer f.turn.Unlock()
	all := f.askAll(ctx)
	for _, t := range all {
		if t.ends != nil {
			return born, "", t.ends
		}
	}
	if !f.waits() {
		return f.part(), "", nil
	}
	born, lacks = f.judge(all, notFirst)
	if _, ready := f.node.life.Started(); lacks == "" && !ready {
		lacks = "the node starts" // it asks once more when it can be asked
	}
	if lacks == "" {
		err = markDirectory(f.node.config.FS, &f.node.config, born)
	}
	if durable.Full(err) {
		lacks, err = fmt.Sprintf("its disk has no room to note that it does: %v", err), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lacks = lacks; lacks == "" && err == nil {
		f.blank, f.born = false, born
	}
	return born, lacks, err
}

// askAll asks all other nodes of the region.
func (f *forming) askAll(ctx context.Context) (all []said) {
	ctx, cancel := context.WithTimeout(ctx, f.node.config.callTimeout())
	defer cancel()
	c := &f.node.config
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
	slices.SortFunc(all, func(a, b said) int { return strings.Compare(a.node, b.node) })
	return all
}

// judge returns how the region was formed, nothing if nobody knows, or why this node must wait. notFirst is asked only
// where a majority is empty, and the others do not answer.
func (f *forming) judge(all []said, notFirst func() string) (born recall.Part, lacks string) {
	own := f.node.disk.ID
	blank := map[uint64]string{f.node.id: own}
	var empty, silent, holding []string
	var left []uint64
	for _, t := range all {
		switch {
		case t.silent:
			silent, left = append(silent, t.node), append(left, t.id)
		case t.formed[f.node.id] == own:
			return recall.Part{Formed: t.formed, Left: t.left}, ""
		case t.blank != "":
			blank[t.id] = t.blank
			empty = append(empty, t.node)
		default:
			holding = append(holding, t.node)
			if t.formed != nil {
				born = recall.Part{Formed: t.formed, Left: without(t.left, f.node.id)}
			}
		}
	}
	nodes := len(all) + 1
	majority := nodes/2 + 1 // of which this one was a part, if it was there: the rest of it holds data
	unlike, few := f.judgeSown(all, holding, majority)
	switch {
	case unlike != "":
		return recall.Part{}, unlike
	case len(empty) == len(all) && few != "":
		return recall.Part{}, few
	case len(empty) == len(all):
		return recall.Part{Formed: blank}, ""
	case len(holding) > nodes-majority:
		return born, ""
	}
	if len(silent) == 0 { // some hold data, and they are too few to be sure
		return recall.Part{}, fmt.Sprintf(
			"%s are empty, and what the others hold is less than a majority of the region: %s",
			strings.Join(append(empty, f.node.config.NodeID), ", "), wayOut)
	}
	lacks = fmt.Sprintf("waits for %s, which may hold what the region acknowledged, and does not answer: start it; "+
		"if it never was, or is lost for good, start a new node in its place, with an empty data directory",
		strings.Join(silent, ", "))
	switch {
	case len(holding) > 0:
		return recall.Part{}, fmt.Sprintf("%s; %s holds data, so that nobody forms the region anew", lacks,
			strings.Join(holding, ", "))
	case len(blank) < majority:
		return recall.Part{}, fmt.Sprintf("%s; %d of %d nodes are up, and empty, less than a majority", lacks,
			len(blank), nodes)
	case few != "":
		return recall.Part{}, lacks + "; " + few
	}
	if why := notFirst(); why != "" {
		return recall.Part{}, lacks + why + vouch
	}
	return recall.Part{Formed: blank, Left: left}, ""
}

// judgeSown returns why this node must wait because of what it, or another empty one, is sown with: unlike, whatever
// those say that do not answer yet; few, if there are no others. "" if it need not.
func (f *forming) judgeSown(all []said, holding []string, majority int) (unlike, few string) {
	own := said{node: f.node.config.NodeID, blank: f.node.disk.ID, sown: f.sown}
	alike := map[string][]string{} // the nodes that are sown, by with what
	for _, t := range append([]said{own}, all...) {
		if t.blank != "" && t.sown != "" {
			alike[t.sown] = append(alike[t.sown], t.node)
		}
	}
	switch {
	case f.sown != "" && len(holding) > 0:
		return fmt.Sprintf("this region lives already, and %s holds its data: empty this data directory, and start "+
			"the node with nothing in it", strings.Join(holding, ", ")), ""
	case len(holding) > 0:
		return "", ""
	case len(alike) > 1:
		var groups []string
		for _, nodes := range alike {
			groups = append(groups, strings.Join(nodes, ", "))
		}
		slices.Sort(groups)
		return fmt.Sprintf("the nodes of this region were restored of different things (%s): empty the data "+
			"directories of those that are wrong, and restore all alike", strings.Join(groups, " / ")), ""
	}
	for _, nodes := range alike {
		if len(nodes) < majority {
			few = fmt.Sprintf("of the nodes that are up, %d of %d were restored (%s), less than a majority: restore "+
				"%d alike, and start all", len(nodes), len(all)+1, strings.Join(nodes, ", "), majority)
		}
	}
	return "", few
}

// vouch is the order that forms a region by a majority of its nodes.
const vouch = "; or, if nothing that was acknowledged there is needed any more, form the region without it, by " +
	"order: mimir fleet init --primary REGION, with its own region, sent to this node"

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(o uint64) bool { return o == id })
}

// wayOut is what to do where an empty node is known with data.
const wayOut = "where a majority of the region's nodes has lost its disks: fail over to another region, empty the " +
	"data directories of all nodes of this one, and start them"

// askOne asks another node of the region, at addr.
func (f *forming) askOne(ctx context.Context, name, addr string) said {
	n, q := f.node, newInquiry(f.node)
	t := said{node: name, id: members.RaftID(n.config.RegionID, name)}
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
		recall.Question{ID: n.id, Disk: n.disk.ID, Boot: n.disk.Boot, Part: new(f.part())})
	switch {
	case err != nil && spoke:
		t.silent = true
	case a.Part != nil:
		t.blank, t.sown = a.Part.Blank, a.Part.Sown
		t.formed, t.left = maps.Clone(a.Part.Formed), a.Part.Left
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
	what := "is empty"
	if f.sown != "" {
		what = "was restored, and this region lives already"
	}
	return fmt.Errorf("%w: node %s knows %s as a member with data, but %s %s; remove the member and add it "+
		"again under a new name, with an empty data directory; %s", ErrDiskLost, by, c.NodeID, c.DataDir, what, wayOut)
}
