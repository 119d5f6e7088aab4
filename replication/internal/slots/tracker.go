package slots

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// History is what the tracker reads of this node's applied state.
type History interface{ State() *timeline.State }

// Tracker knows what the other regions have acknowledged, and answers the applied writes that wait for it. Only writes
// that ask for more than this region reach it. It waits for acknowledgements only while this node leads its region:
// they go to the leader. It is safe for concurrent use, and calls whoever waits without its lock.
type Tracker struct {
	history History
	changed wake.Signal // has room for one: somebody waits who did not before

	mu      sync.Mutex
	acked   acknowledgements
	waiting []*wait
	deaf    error // why no acknowledgement will come; nil: they come
}

// wait is an applied write that waits for further regions.
type wait struct {
	k        int
	receipt  *contract.Receipt
	reign    timeline.Reign // in which it was written; the epoch alone is not unique if operators forced two
	deadline time.Time      // zero: none
	done     func(*contract.Receipt, error)
}

// errLedElsewhere says why a wait for further regions ended. The write is applied: no error that reads as "not done"
// may stand here.
var errLedElsewhere = errors.New("acknowledgements go to another leader now")

// NewTracker returns a Tracker of a node that does not lead.
func NewTracker(h History) *Tracker {
	return &Tracker{history: h, changed: wake.New(), acked: acknowledgements{}, deaf: errLedElsewhere}
}

// Lead says that this node leads: acknowledgements come here.
func (t *Tracker) Lead() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaf = nil
}

// StepDown says that this node does not lead, and ends every wait.
func (t *Tracker) StepDown() { t.Abandon(errLedElsewhere) }

// Abandon ends every wait, now and until this node leads, because of why.
func (t *Tracker) Abandon(why error) {
	t.mu.Lock()
	t.deaf = why
	waiting := t.waiting
	t.waiting = nil
	t.mu.Unlock()
	for _, w := range waiting {
		w.end(why)
	}
}

// Await calls done once: with r when k regions have the write, or with r and ErrUnderReplicated if this node hears of
// no more acknowledgements, or at the deadline (zero: none), for which Expire is called. It sets r.Regions.
func (t *Tracker) Await(k int, r *contract.Receipt, deadline time.Time, done func(*contract.Receipt, error)) {
	s := t.history.State()
	w := &wait{k: k, receipt: r, reign: reignOf(s, r.Epoch), deadline: deadline, done: done}
	t.mu.Lock()
	r.Regions = t.acked.regionsAt(r, s)
	deaf, enough := t.deaf, r.Regions >= k
	if !enough && deaf == nil {
		t.waiting = append(t.waiting, w)
	}
	t.mu.Unlock()
	switch {
	case enough:
		done(r, nil)
	case deaf != nil:
		w.end(deaf)
	default:
		t.changed.Nudge()
	}
}

// Reached returns the last position of the history s that k regions have, the one of s included: by what this node
// heard, and by what an earlier leader of this reign did and noted in the slots. Whoever went away since tells nobody.
func (t *Tracker) Reached(k int, s *timeline.State) contract.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	have := []contract.Position{s.Cursor.Position}
	for region, a := range t.acked {
		if slot, _ := slotOf(s, region); counts(s, region) {
			have = append(have, max(a.within(s), min(slot.Position, s.Cursor.Position)))
		}
	}
	for _, slot := range s.Slots {
		if _, heard := t.acked[slot.Region]; !heard && counts(s, slot.Region) {
			have = append(have, min(slot.Position, s.Cursor.Position))
		}
	}
	if len(have) < k {
		return 0
	}
	slices.Sort(have)
	return have[len(have)-k]
}

// acknowledge takes what a region has, and answers those for whom it is enough.
func (t *Tracker) acknowledge(a acknowledgement) {
	s := t.history.State()
	ready := t.takeOut(func(w *wait) bool {
		if !slices.Contains(s.Reigns, w.reign) {
			return false // the write was cut; its deadline ends the wait
		}
		w.receipt.Regions = t.acked.regionsAt(w.receipt, s)
		return w.receipt.Regions >= w.k
	}, a)
	for _, w := range ready {
		w.done(w.receipt, nil)
	}
}

// forget forgets what a region acknowledged. Who waits for it waits on.
func (t *Tracker) forget(region string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.acked, region)
}

// expire ends the waits whose time is over.
func (t *Tracker) expire(now time.Time) {
	for _, w := range t.takeOut(func(w *wait) bool { return !w.deadline.IsZero() && !w.deadline.After(now) }) {
		w.end(nil)
	}
}

// takeOut notes acknowledgements, and returns those who wait no more.
func (t *Tracker) takeOut(over func(*wait) bool, news ...acknowledgement) (out []*wait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range news {
		t.acked.note(a)
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(w *wait) bool {
		if !over(w) {
			return false
		}
		out = append(out, w)
		return true
	})
	return out
}

// next returns how long it is until a wait expires, or longest if none does before.
func (t *Tracker) next(now time.Time, longest time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.waiting {
		if !w.deadline.IsZero() {
			longest = min(longest, w.deadline.Sub(now))
		}
	}
	return longest
}

// within returns what each region acknowledged of the history s.
func (t *Tracker) within(s *timeline.State) map[string]contract.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make(map[string]contract.Position, len(t.acked))
	for region, a := range t.acked {
		list[region] = a.within(s)
	}
	return list
}

// end answers that the write is not known to be in as many regions as asked. why may be nil: the time is over.
func (w *wait) end(why error) {
	r := w.receipt
	err := fmt.Errorf("%w: position %d is in %d of %d", contract.ErrUnderReplicated, r.Position, r.Regions, w.k)
	if why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	w.done(r, err)
}

// reignOf returns the reign of an epoch in the history s, the zero Reign if it has none.
func reignOf(s *timeline.State, e contract.Epoch) timeline.Reign {
	for _, r := range s.Reigns {
		if r.Epoch == e {
			return r
		}
	}
	return timeline.Reign{}
}
