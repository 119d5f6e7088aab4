package sim

import (
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// place is a place in the tree of all histories that any node ever applied. Without a fork it is a list.
type place struct {
	parent   *place
	epoch    replication.Epoch
	position replication.Position
	chain    replication.Chain
	data     string             // of the command; empty for a beginning
	reign    *replication.Reign // the beginning itself, otherwise nil
	within   *replication.Reign // the reign in force
	by       string             // the node that applied it first
	when     time.Time          // it did
	lost     bool               // only a region that lost all of its disks had it
}

func (p *place) String() string {
	return fmt.Sprintf("position %d of epoch %d (chain %v)", p.position, p.epoch, p.chain)
}

// before reports whether q is p or continues p.
func (p *place) before(q *place) bool {
	for q != nil && (q.position > p.position || q.epoch > p.epoch) {
		q = q.parent
	}
	return p == q
}

// path returns the commands and beginnings that lead to p, in order.
func (p *place) path() []*place {
	var list []*place
	for q := p; q.parent != nil; q = q.parent {
		list = append(list, q)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// applied is what a region's nodes have at a Raft index.
type applied struct {
	term uint64
	at   *place
	by   string
}

// exchange is that a node gave up the history that leads to one place for that which leads to another.
type exchange struct{ from, to *place }

// lineage is everything that was ever applied in a fleet. It is safe for concurrent use.
type lineage struct {
	mu      sync.Mutex
	folder  *timeline.Folder
	genesis *place
	places  map[replication.Chain]*place
	values  map[string][]*place // of commands, by data
	reigns  map[replication.Epoch][]replication.Reign
	regions map[string]map[uint64]applied
	given   map[string][]exchange // by node
	wrong   func(invariant, format string, args ...any)
	// older returns a node that has to be known not to understand this level, "" if there is none.
	older   func(timeline.Level) string
	note    func(kind string) // that a fault of this kind happened
	unvoted bool              // a failover was forced without votes
}

func newLineage(wrong func(invariant, format string, args ...any)) *lineage {
	root := &place{}
	return &lineage{
		folder: timeline.NewFolder(), genesis: root, places: map[replication.Chain]*place{{}: root},
		values: map[string][]*place{},
		reigns: map[replication.Epoch][]replication.Reign{}, regions: map[string]map[uint64]applied{}, wrong: wrong,
		given: map[string][]exchange{},
		older: func(timeline.Level) string { return "" }, note: func(string) {},
	}
}

// find returns the place with this chain, nil if nobody was ever there.
func (l *lineage) find(c replication.Chain) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places[c]
}

// command returns the place after p where a node applied a command with this data.
func (l *lineage) command(p *place, data, region, node string) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	chain := l.folder.Command(p.chain, []byte(data))
	if q := l.places[chain]; q != nil {
		return q
	}
	q := &place{
		parent: p, epoch: p.epoch, position: p.position + 1, chain: chain, data: data, within: p.within, by: node,
		when: time.Now(),
	}
	l.places[chain] = q
	l.values[data] = append(l.values[data], q)
	switch {
	case p.within == nil:
		l.wrong("6", "%s applied %v before any epoch began", node, q)
	case p.within.Primary != region:
		l.wrong("3", "%s of %s applied %v before any node of its primary %s had", node, region, q, p.within.Primary)
	}
	return q
}

// begin returns the place after p where a node applied the beginning of an epoch; chartered says that it votes.
func (l *lineage) begin(p *place, r replication.Reign, region, node string, chartered bool) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	chain := l.folder.Reign(p.chain, r)
	if q := l.places[chain]; q != nil {
		return q
	}
	if r.Epoch <= p.epoch || r.First != p.position+1 {
		l.wrong("6", "%s began epoch %d at %d after %v", node, r.Epoch, r.First, p)
	}
	if older := l.older(r.Level()); older != "" {
		l.wrong("16", "%s began epoch %d in a way that %s, which runs, does not understand", node, r.Epoch, older)
	}
	if r.Primary != region {
		l.wrong("3", "%s of %s began epoch %d before any node of its primary %s had", node, region, r.Epoch, r.Primary)
	}
	q := &place{
		parent: p, epoch: r.Epoch, position: p.position, chain: chain, reign: &r, within: &r, by: node,
		when: time.Now(),
	}
	l.places[chain] = q
	l.begun(r, chartered)
	l.claim(r)
	return q
}

// claim notes a reign. Only operators who force can make two of one epoch. The lock is held.
func (l *lineage) claim(r replication.Reign) {
	for _, o := range l.reigns[r.Epoch] {
		if !o.Lossy && !r.Lossy {
			l.wrong("6", "epoch %d has two primaries, %s from %d and %s from %d, and none was forced", r.Epoch,
				o.Primary, o.First, r.Primary, r.First)
		}
		if o.Primary == r.Primary {
			l.wrong("6", "epoch %d was begun twice by %s, from %d and from %d", r.Epoch, r.Primary, o.First, r.First)
		}
	}
	l.reigns[r.Epoch] = append(l.reigns[r.Epoch], r)
}

// reached notes where a node of a region is after a Raft index: all nodes must be at the same place there.
func (l *lineage) reached(region, node string, index, term uint64, at *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.regions[region] == nil {
		l.regions[region] = map[uint64]applied{}
	}
	was, ok := l.regions[region][index]
	if !ok {
		l.regions[region][index] = applied{term, at, node}
		return
	}
	if was.term != term || was.at != at {
		l.wrong("4", "after entry %d of %s, %s was at %v in term %d, and %s is at %v in term %d", index, region, was.by,
			was.at, was.term, node, at, term)
	}
}

// gaveUp notes where a node was when another state took the place of its own. Either may be unknown.
func (l *lineage) gaveUp(node string, from, to *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from != nil && to != nil && !from.before(to) {
		l.given[node] = append(l.given[node], exchange{from, to})
	}
}

// placesOf returns the places at which a command with this data was applied: one, unless it was applied twice.
func (l *lineage) placesOf(data string) []*place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[data]
}
