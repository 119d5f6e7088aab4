package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// slotInterval is how often acknowledgements are written to the region's log: they only decide how much log to keep.
const slotInterval = 2 * time.Second

// acknowledgement is what a secondary's quorum has, passed on to the leader.
type acknowledgement struct {
	Region   string   `json:"region"`
	Epoch    Epoch    `json:"epoch"` // of the last reign up to the position
	Position Position `json:"position"`
}

// newer reports whether a is further than b.
func (a acknowledgement) newer(b acknowledgement) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Position > b.Position
}

// within returns the last position of the history s that a covers. Positions alone cannot be compared: the history in which one
// was acknowledged may have been cut since.
func (a acknowledgement) within(s *timeline.State) Position {
	end := s.Cursor.Position
	for i := len(s.Reigns) - 1; i >= 0; i-- {
		if s.Reigns[i].Epoch == a.Epoch {
			return min(a.Position, end)
		}
		end = s.Reigns[i].First - 1
	}
	return 0
}

// slots keeps what the secondaries have acknowledged: at once in memory, for writes that wait for it, and now and then in the region's
// log, for the log that has to be kept.
type slots struct {
	node *node

	mu        sync.Mutex
	acked     map[string]acknowledgement
	connected map[string]bool
	news      map[string]acknowledgement // to be passed on to the leader
	wake      chan struct{}
	waiting   []*waitingUnit
}

// waitingUnit is an applied unit that waits for further regions.
type waitingUnit struct {
	unit    *unit
	receipt *Receipt
	reign   Reign // in which it was written; the epoch alone is not unique if operators forced two
}

func newSlots(n *node) *slots {
	return &slots{node: n, acked: map[string]acknowledgement{}, connected: map[string]bool{}, news: map[string]acknowledgement{}, wake: make(chan struct{}, 1)}
}

// acknowledged is told by the source on this node.
func (s *slots) acknowledged(region string, e Epoch, p Position) {
	s.keepNews(acknowledgement{Region: region, Epoch: e, Position: p})
	s.nudge()
}

func (s *slots) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *slots) session(region string, connected bool) {
	s.mu.Lock()
	s.connected[region] = connected
	s.mu.Unlock()
	s.node.logger.Info("secondary", "secondary", region, "connected", connected)
}

// acknowledge takes an acknowledgement on the leader, and completes what waited for it.
func (s *slots) acknowledge(a acknowledgement) error {
	if _, ok := s.node.config.Regions[a.Region]; !ok {
		return fmt.Errorf("%w: %s", ErrUnknownRegion, a.Region)
	}
	s.mu.Lock()
	if a.newer(s.acked[a.Region]) {
		s.acked[a.Region] = a
	}
	state := &s.node.applied.View().State
	var ready []*waitingUnit
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waitingUnit) bool {
		if !slices.Contains(state.Reigns, w.reign) {
			return false // the write was cut; its deadline ends the wait
		}
		w.receipt.Regions = s.regionsAt(w.receipt, state)
		if w.receipt.Regions < w.unit.regions {
			return false
		}
		ready = append(ready, w)
		return true
	})
	s.mu.Unlock()
	for _, w := range ready {
		w.unit.finish(result{receipt: w.receipt})
	}
	return nil
}

// regionsAt counts the regions that have a write: this one alone, once the write was cut from its history. The caller
// holds mu.
func (s *slots) regionsAt(r *Receipt, state *timeline.State) int {
	k := 1
	if (acknowledgement{Epoch: r.Epoch, Position: r.Position}).within(state) < r.Position {
		return k
	}
	for _, a := range s.acked {
		if a.within(state) >= r.Position {
			k++
		}
	}
	return k
}

// reignOf returns the reign of an epoch in the history s, the zero Reign if it has none.
func reignOf(s *timeline.State, e Epoch) Reign {
	for _, r := range s.Reigns {
		if r.Epoch == e {
			return r
		}
	}
	return Reign{}
}

// deliver completes an applied unit, at once or when enough regions have it.
func (s *slots) deliver(u *unit, r *Receipt) {
	if u.regions <= 1 {
		u.finish(result{receipt: r})
		return
	}
	state := &s.node.applied.View().State
	s.mu.Lock()
	r.Regions = s.regionsAt(r, state)
	enough := r.Regions >= u.regions
	if !enough {
		s.waiting = append(s.waiting, &waitingUnit{unit: u, receipt: r, reign: reignOf(state, r.Epoch)})
	}
	s.mu.Unlock()
	if enough {
		u.finish(result{receipt: r})
	}
	s.nudge()
}

// run passes acknowledgements on, gives up on units whose time is over, and keeps log.
func (s *slots) run(ctx context.Context) {
	timer := s.node.config.Clock.NewTicker(slotInterval)
	defer timer.Stop()
	defer s.abandon(errors.New("the node stops"))
	for {
		s.passOn(ctx)
		expired := s.nextDeadline()
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-expired.C():
			s.expire()
		case <-timer.C():
			s.persist(ctx)
			s.retain()
			s.node.copies.tidy()
		}
		expired.Stop()
	}
}

// passOn brings what the source on this node heard to the leader, itself or another.
func (s *slots) passOn(ctx context.Context) {
	s.mu.Lock()
	news := s.news
	s.news = map[string]acknowledgement{}
	s.mu.Unlock()
	for _, a := range news {
		if _, leads := s.node.leadership.Term(); leads {
			if err := s.acknowledge(a); err != nil {
				s.node.logger.Warn("acknowledgement of an unknown region", "err", err)
			}
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, s.node.config.callTimeout())
		if addr := s.node.directory.LeaderAddr(); addr == "" || ask(callCtx, s.node, addr, askAck, a) != nil {
			s.keepNews(a)
		}
		cancel()
	}
}

// keepNews notes an acknowledgement that is to reach the leader.
func (s *slots) keepNews(a acknowledgement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.newer(s.news[a.Region]) {
		s.news[a.Region] = a
	}
}

// nextDeadline returns a timer for the first waiting unit that runs out of time.
func (s *slots) nextDeadline() interface {
	C() <-chan time.Time
	Stop()
} {
	wait := time.Hour
	now := s.node.config.Clock.Now()
	s.mu.Lock()
	for _, w := range s.waiting {
		if !w.unit.deadline.IsZero() {
			wait = min(wait, w.unit.deadline.Sub(now))
		}
	}
	s.mu.Unlock()
	return s.node.config.Clock.NewTimer(max(wait, time.Millisecond))
}

func (s *slots) expire() {
	now := s.node.config.Clock.Now()
	s.mu.Lock()
	var late []*waitingUnit
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waitingUnit) bool {
		if w.unit.deadline.IsZero() || w.unit.deadline.After(now) {
			return false
		}
		late = append(late, w)
		return true
	})
	s.mu.Unlock()
	for _, w := range late {
		w.unit.finish(underReplicated(w))
	}
}

func underReplicated(w *waitingUnit) result {
	return result{receipt: w.receipt, err: fmt.Errorf("%w: position %d is in %d of %d", ErrUnderReplicated, w.receipt.Position, w.receipt.Regions, w.unit.regions)}
}

// errLedElsewhere says why a wait for further regions ended. The write is applied: no error that reads as "not done" may stand here.
var errLedElsewhere = errors.New("acknowledgements go to another leader now")

// abandon ends every wait for further regions: this node will hear of no more acknowledgements.
func (s *slots) abandon(why error) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, w := range waiting {
		r := underReplicated(w)
		r.err = fmt.Errorf("%w: %w", r.err, why)
		w.unit.finish(r)
	}
}

// persist writes what moved to the region's log, and gives up on secondaries that would keep more log than is allowed.
func (s *slots) persist(ctx context.Context) {
	if _, leads := s.node.leadership.Term(); !leads {
		return
	}
	state := &s.node.applied.View().State
	var moved []timeline.Slot
	s.mu.Lock()
	for region := range s.node.config.Regions {
		held, known := slotOf(state, region)
		next := timeline.Slot{Region: region, Position: max(held.Position, s.acked[region].within(state))}
		next.Lost = s.node.heldFor(next.Position) > s.node.config.RetainBytes
		if known && next.Position == held.Position && held.Lost {
			next.Lost = true // until it moves again
		}
		if next != held || (!known && next.Position > 0) {
			moved = append(moved, next)
		}
	}
	s.mu.Unlock()
	if len(moved) == 0 || state.Role() == timeline.Diverged {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.node.config.callTimeout())
	defer cancel()
	if _, err := s.node.control(ctx, &timeline.Control{Op: timeline.OpSlots, Slots: moved}); err != nil && ctx.Err() == nil {
		s.node.logger.Debug("slots not saved", "err", err)
	}
}

func slotOf(s *timeline.State, region string) (timeline.Slot, bool) {
	for _, o := range s.Slots {
		if o.Region == region {
			return o, true
		}
	}
	return timeline.Slot{Region: region}, false
}
