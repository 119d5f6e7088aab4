package events

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Told is an event as several nodes tell it.
type Told struct {
	// At is when the first of those wrote it down who saw it happen, by that node's clock; if nobody did, who learned
	// of it first.
	At time.Time `json:"at"`
	// OutOfTime says that it stands where it does because of the order in which a node saw things, or of the history:
	// by the clocks it would stand elsewhere.
	OutOfTime bool `json:"outOfTime,omitempty"`
	replication.Event
	By []Sighting `json:"by"` // by node
}

// Sighting is an event in the log of a node.
type Sighting struct {
	Node    string    `json:"node"`
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"` // by its clock
	Learned bool      `json:"learned,omitempty"`
}

// Merge puts what nodes told in one order. What is known of it does not rest on clocks: an epoch begins before a later
// one; nothing that was decided stands behind what a node wrote down after it had seen it; and what a node saw itself
// stands in the order in which it did. Beyond that the times decide, of which each is of its node's clock.
func Merge(pages []Page) []Told {
	m := merger{byID: map[string]*entry{}}
	for _, p := range pages {
		m.add(&p)
	}
	m.chainHistory()
	return m.order()
}

// entry is an event on its way into the order.
type entry struct {
	Told
	after  []*entry // what stands behind it
	waits  int      // for how many others
	placed bool
}

type merger struct {
	entries []*entry
	byID    map[string]*entry
}

// add adds what a node told.
func (m *merger) add(p *Page) {
	var before []*entry // what this node saw decided and no event of its own stands behind yet, and its last own event
	for i := range p.Events {
		r := &p.Events[i]
		e := m.byID[r.ID]
		if r.ID == "" || e == nil {
			e = &entry{Told: Told{Event: r.Event, At: r.At}}
			m.entries = append(m.entries, e)
			if r.ID != "" {
				m.byID[r.ID] = e
			}
		}
		e.sight(p.Node, r)
		if r.ID != "" {
			before = append(before, e)
			continue
		}
		for _, b := range before {
			b.leads(e)
		}
		before = []*entry{e}
	}
}

func (e *entry) leads(o *entry) {
	if e != o {
		e.after = append(e.after, o)
		o.waits++
	}
}

// sight takes note that a node has the event.
func (e *entry) sight(node string, r *Record) {
	s := Sighting{Node: node, Seq: r.Seq, At: r.At, Learned: r.Learned}
	if better := e.Learned && !r.Learned; better || e.Learned == r.Learned && r.At.Before(e.At) {
		e.At = r.At
	}
	e.Learned = e.Learned && r.Learned
	at, _ := slices.BinarySearchFunc(e.By, s, func(a, b Sighting) int { return strings.Compare(a.Node, b.Node) })
	e.By = slices.Insert(e.By, at, s)
}

// chainHistory has each epoch stand before the next one.
func (m *merger) chainHistory() {
	var epochs []*entry
	for _, e := range m.entries {
		if e.Kind == replication.EventEpoch {
			epochs = append(epochs, e)
		}
	}
	slices.SortStableFunc(epochs, func(a, b *entry) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for i := 1; i < len(epochs); i++ {
		if epochs[i-1].Epoch < epochs[i].Epoch {
			epochs[i-1].leads(epochs[i])
		}
	}
}

// order takes, of those that wait for nobody, the one with the least time, again and again.
func (m *merger) order() []Told {
	list := make([]Told, 0, len(m.entries))
	var ready queue
	for _, e := range m.entries {
		if e.waits == 0 {
			heap.Push(&ready, e)
		}
	}
	var latest time.Time
	for len(list) < len(m.entries) {
		if len(ready) == 0 { // epochs that somebody saw the other way round: nothing but times is left
			heap.Push(&ready, m.earliest())
		}
		e := heap.Pop(&ready).(*entry)
		e.placed = true
		for _, o := range e.after {
			if o.waits--; o.waits == 0 && !o.placed {
				heap.Push(&ready, o)
			}
		}
		e.OutOfTime = e.At.Before(latest)
		if e.At.After(latest) {
			latest = e.At
		}
		list = append(list, e.Told)
	}
	return list
}

// earliest returns, of those that have no place yet, the one with the least time, which waits for nobody from now on.
func (m *merger) earliest() (first *entry) {
	for _, e := range m.entries {
		if !e.placed && (first == nil || e.earlier(first)) {
			first = e
		}
	}
	first.waits = 0
	return first
}

// queue is a heap of those that wait for nobody.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].earlier(q[j]) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(e any) { *q = append(*q, e.(*entry)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (e *entry) earlier(o *entry) bool {
	if c := e.At.Compare(o.At); c != 0 {
		return c < 0
	}
	return cmp.Compare(e.Epoch, o.Epoch) < 0
}
