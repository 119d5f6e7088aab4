package slots

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
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
	ahead   map[string]through // what a region has by the word of another that has not acknowledged it yet
	waiting []*wait            // by position
	nearest time.Time          // before which nobody's time is over; zero: nobody has a bound
	deaf    error              // why no acknowledgement will come; nil: they come
}

// wait is an applied write that waits for further regions.
type wait struct {
	k        int // that were asked for
	needs    int // that have to have it, by the charter too, when it was looked at last
	receipt  *contract.Receipt
	reign    timeline.Reign // in which it was written; the epoch alone is not unique if operators forced two
	deadline time.Time      // zero: none
	left     func() bool    // reports whether nobody waits for the answer any more
	done     func(*contract.Receipt, error)
	err      error // of the answer, once it is over
}

// These say why a wait for further regions ended. The write is applied: no error that reads as "not done" may stand
// here.
var (
	errLedElsewhere = errors.New("acknowledgements go to another leader now")
	errNotPrimary   = errors.New("acknowledgements go to another region now")
	errFewer        = errors.New("the fleet has no more regions")
	errLeft         = errors.New("nobody waits for the answer")
)

// NewTracker returns a Tracker of a node that does not lead.
func NewTracker(h History) *Tracker {
	return &Tracker{history: h, changed: wake.New(), acked: acknowledgements{}, deaf: errLedElsewhere,
		ahead: map[string]through{}}
}

// without returns the other regions of the fleet that are not among those that have a write and count in s; none where
// the history has no roster, and the regions are those of each node's file.
func without(have []string, s *timeline.State) (list []string) {
	if s.Roster == nil {
		return nil
	}
	for _, home := range s.Roster.Regions {
		if !slices.Contains(have, home.Name) && counts(s, home.Name) {
			list = append(list, home.Name)
		}
	}
	return list
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
	waiting, s := t.waiting, t.history.State()
	t.waiting = nil
	for _, w := range waiting {
		w.err = t.short(w, s, why)
	}
	t.mu.Unlock()
	for _, w := range waiting {
		w.end()
	}
}

// Await calls done once: with r when k regions have the write, and as many as the charter asks for by then; with r and
// ErrUnderReplicated if this node hears of no more acknowledgements, or at the deadline (zero: none), or some time
// after left reports that nobody waits; with ErrUnknownOutcome once the write is in the history no more. It sets
// r.Regions. For deadlines and left somebody calls expire, and for what the region applies Look.
func (t *Tracker) Await(
	k int, r *contract.Receipt, deadline time.Time, left func() bool, done func(*contract.Receipt, error),
) {
	w := &wait{k: k, receipt: r, deadline: deadline, left: left, done: done}
	t.mu.Lock()
	s := t.history.State() // with the lock: whoever looks after it changed finds w
	w.reign = reignOf(s, r.Epoch)
	over := t.settles(w, s)
	if !over && t.deaf != nil {
		over, w.err = true, t.short(w, s, t.deaf)
	}
	if !over {
		t.waiting = slices.Insert(t.waiting, t.behind(r.Position), w)
		t.nearest = earlier(t.nearest, deadline)
	}
	t.mu.Unlock()
	if over {
		w.end()
	} else {
		t.changed.Nudge()
	}
}

// settles reports whether the wait of w is over by what is known in the history s, and sets the answer. The caller
// holds mu.
func (t *Tracker) settles(w *wait, s *timeline.State) bool {
	if w.cut(s) {
		w.err = fmt.Errorf("%w: position %d of epoch %d is in the history no more; it may be in a tail",
			contract.ErrUnknownOutcome, w.receipt.Position, w.receipt.Epoch)
		return true
	}
	w.receipt.Regions, w.needs = t.acked.regionsAt(w.receipt, s), w.k
	if c := s.Charter(); c != nil {
		w.needs = max(w.k, c.Spread())
	}
	switch {
	case w.receipt.Regions >= w.needs:
	case s.Role() != timeline.Primary:
		w.err = t.short(w, s, errNotPrimary)
	case s.Roster != nil && w.k > len(s.Roster.Regions):
		w.err = t.short(w, s, errFewer)
	default:
		return false
	}
	return true
}

// cut reports whether the write is no part of the history s, or is about to be given up.
func (w *wait) cut(s *timeline.State) bool {
	p := w.receipt.Position
	return !slices.Contains(s.Reigns, w.reign) || s.Diverged != nil && s.Diverged.Fork < p ||
		(acknowledgement{Epoch: w.receipt.Epoch, Position: p}).within(s) < p
}

// Countable returns how many of the regions can count for a write, this one among them: where nothing may be lost those
// that vote.
func (t *Tracker) Countable(regions []string) (n int) {
	s := t.history.State()
	for _, region := range regions {
		if region == s.Region || counts(s, region) {
			n++
		}
	}
	return n
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

// acknowledge takes what a region has, answers those for whom it is enough, and returns what counts since of regions
// that follow by that one. It looks at those alone who wait for what is news: many may wait for a region that is away.
func (t *Tracker) acknowledge(a acknowledgement) (also []acknowledgement) {
	t.mu.Lock()
	s, before := t.history.State(), maps.Clone(t.acked)
	t.acked.note(a)
	also = t.follow(a.Region)
	from, to := t.acked.news(before, s)
	t.mu.Unlock()
	if from < to {
		t.answerIn(from, to, t.settles)
	}
	return also
}

// Look answers those whose wait is over by what the region has applied: another charter, a fleet of fewer regions, or
// the reign of another one.
func (t *Tracker) Look() { t.answer(t.settles) }

// forget forgets what a region acknowledged.
func (t *Tracker) forget(region string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.acked, region)
	for name, h := range t.ahead {
		if name == region || h.By == region {
			delete(t.ahead, name)
		}
	}
}

// expire ends the waits whose time is over, and those in which nobody waits.
func (t *Tracker) expire(now time.Time) {
	t.answer(func(w *wait, s *timeline.State) bool {
		switch {
		case !w.deadline.IsZero() && !w.deadline.After(now):
			w.err = t.short(w, s, nil)
		case w.left():
			w.err = t.short(w, s, errLeft)
		default:
			return false
		}
		return true
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nearest = time.Time{}
	for _, w := range t.waiting {
		t.nearest = earlier(t.nearest, w.deadline)
	}
}

// answer answers those who wait no more, by over, which sets the answer. It is called with the lock, and with the state
// as it is then.
func (t *Tracker) answer(over func(*wait, *timeline.State) bool) {
	t.answerIn(0, ^contract.Position(0), over)
}

// answerIn is answer for those who wait for a position behind from, and up to to.
func (t *Tracker) answerIn(from, to contract.Position, over func(*wait, *timeline.State) bool) {
	t.mu.Lock()
	var out []*wait
	s := t.history.State()
	first, last := t.behind(from), t.behind(to)
	kept := first
	for _, w := range t.waiting[first:last] {
		if over(w, s) {
			out = append(out, w)
			continue
		}
		t.waiting[kept] = w
		kept++
	}
	t.waiting = slices.Delete(t.waiting, kept, last)
	t.mu.Unlock()
	for _, w := range out {
		w.end()
	}
}

// behind returns the index of the first one who waits for a position behind p. The caller holds mu.
func (t *Tracker) behind(p contract.Position) int {
	return sort.Search(len(t.waiting), func(i int) bool { return t.waiting[i].receipt.Position > p })
}

// earlier returns the earlier one of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// next returns how long it is until a wait may expire, or longest if none does before.
func (t *Tracker) next(now time.Time, longest time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nearest.IsZero() {
		return longest
	}
	return min(longest, t.nearest.Sub(now))
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

// short is the answer that the write is not known to be in as many regions of the history s as asked, with which those
// are. why may be nil: the time is over. The caller holds mu.
func (t *Tracker) short(w *wait, s *timeline.State, why error) error {
	r := w.receipt
	have := t.acked.having([]string{s.Region}, r, s)
	slices.Sort(have[1:])
	text := fmt.Sprintf("position %d is in %d of %d regions: %s", r.Position, r.Regions, w.needs,
		strings.Join(have, ", "))
	if missing := without(have, s); len(missing) > 0 {
		text += "; not known to be in " + strings.Join(missing, ", ")
	}
	if why != nil {
		return fmt.Errorf("%w: %s: %w", contract.ErrUnderReplicated, text, why)
	}
	return fmt.Errorf("%w: %s", contract.ErrUnderReplicated, text)
}

// end gives the answer.
func (w *wait) end() {
	if errors.Is(w.err, contract.ErrUnknownOutcome) {
		w.done(nil, w.err)
		return
	}
	w.done(w.receipt, w.err)
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
