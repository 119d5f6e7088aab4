package slots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// interval is how often acknowledgements are written to the region's log: they only decide how much log to keep.
const interval = 2 * time.Second

// soonest is how long it is at least until it is looked again whose time is over.
const soonest = 5 * time.Millisecond

// To the leader: a secondary acknowledged this to a node that serves its stream.
const question = peer.Question[acknowledgement, peer.Nothing]("ack")

// Controls takes slots to the region's log.
type Controls interface {
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
}

// Leader tells where this region's own leader is.
type Leader interface {
	// LeaderAddr returns its peer address, "" if none is known.
	LeaderAddr() string
}

// Fleet is the picture of the other regions.
type Fleet interface {
	View() (fleet.View, <-chan struct{})
}

// Config is what Slots need. All fields are required.
type Config struct {
	Region   string          // of this node
	Others   func() []string // the other regions, in order; it does not block
	Tracker  *Tracker
	Log      *Log
	Controls Controls
	Leader   Leader
	Client   *peer.Client
	Fleet    Fleet
	// Upstream returns where the leader is of the region that this one follows, "" if none serves it now.
	Upstream   func() string
	Applied    *region.Applied
	Leadership *region.Leadership
	Clock      clock.Clock
	Logger     *slog.Logger

	RetainBytes int64 // of log, kept for a slow or absent secondary
	// CopyRetainBytes of log are kept behind a copy until the region that takes it has caught up; at least RetainBytes.
	CopyRetainBytes int64
	Timeout         time.Duration // of one question, and of writing slots to the log
}

// Slots keep what the secondaries have acknowledged: at once in the tracker, for writes that wait for it, and now and
// then in the region's log, for the log that has to be kept. They are safe for concurrent use.
type Slots struct {
	config  Config
	tracker *Tracker
	wake    wake.Signal
	onward  onward

	retaining sync.Mutex
	reported  map[string]contract.Position // where a leader said last that its region is; guarded by retaining

	mu      sync.Mutex
	news    acknowledgements    // to be passed on to the leader
	heard   acknowledgements    // of the regions that follow this node now
	reign   timeline.Reign      // that was the latest when givenUp was looked at
	givenUp map[string]bool     // regions for which this node keeps no log
	copies  map[string]*copying // regions that take a copy
	// starting is nil once what was agreed on before this process is applied.
	starting *start
	strange  map[string]bool           // regions that follow and are not ones of the fleet, of which was warned
	spoke    map[string]timeline.Reign // by region: the latest when it was last heard here
}

// New returns Slots; nothing is passed on, saved or released before Run.
func New(c Config) *Slots {
	return &Slots{
		config: c, tracker: c.Tracker, news: acknowledgements{}, heard: acknowledgements{}, wake: wake.New(),
		reported: map[string]contract.Position{}, givenUp: map[string]bool{}, copies: map[string]*copying{},
		strange: map[string]bool{}, spoke: map[string]timeline.Reign{}, starting: &start{},
		onward: onward{wake: wake.New(), news: acknowledgements{}},
	}
}

// Register makes this node answer the questions "ack", "ack-through" and "copying".
func (s *Slots) Register(r *peer.Registry) {
	peer.Handle(r, question, peer.RegionNode, func(ctx context.Context, a acknowledgement) (peer.Nothing, error) {
		if err := peer.MaySpeak(ctx, s.config.Region); err != nil { // it is a source of this region that passes it on
			return peer.Nothing{}, err
		}
		return peer.Nothing{}, s.acknowledge(a)
	})
	peer.Handle(r, askThrough, peer.FleetNode, func(ctx context.Context, h through) (peer.Nothing, error) {
		return peer.Nothing{}, s.hop(ctx, h)
	})
	s.registerCopying(r)
}

// Acknowledged is told by the stream's source on this node that a secondary has everything up to p, in the history
// whose last reign up to there is of epoch e. It does not block.
func (s *Slots) Acknowledged(region string, e contract.Epoch, p contract.Position) {
	a := acknowledgement{Region: region, Epoch: e, Position: p, Reign: reignOf(s.config.Applied.State(), e)}
	s.mu.Lock()
	s.news.note(a)
	s.heard.note(a)
	s.mu.Unlock()
	s.wake.Nudge()
}

// Session is told by the stream's source on this node that a secondary came or went. What one acknowledged that went is
// told to no further leader: it may come back with less.
func (s *Slots) Session(region string, connected bool) {
	if !connected {
		s.mu.Lock()
		delete(s.heard, region)
		delete(s.strange, region)
		s.mu.Unlock()
	}
	s.config.Logger.Info("secondary", "secondary", region, "connected", connected)
}

// acknowledge takes an acknowledgement on the leader.
func (s *Slots) acknowledge(a acknowledgement) error {
	if !slices.Contains(s.config.Others(), a.Region) {
		return fmt.Errorf("%w: %s", contract.ErrUnknownRegion, a.Region)
	}
	also := s.tracker.acknowledge(a)
	state := s.config.Applied.State()
	s.mu.Lock()
	s.spoke[a.Region] = timeline.Latest(state.Reigns)
	s.mu.Unlock()
	if state.Role() == timeline.Secondary {
		for _, a := range append(also, a) {
			s.onward.note(a)
		}
	}
	return nil
}

// Forget forgets what a region acknowledged, and keeps no more log for it: it was removed from the fleet. One that
// comes under its name begins anew.
func (s *Slots) Forget(region string) {
	s.tracker.forget(region)
	s.mu.Lock()
	delete(s.news, region)
	delete(s.heard, region)
	delete(s.givenUp, region)
	delete(s.copies, region)
	delete(s.spoke, region)
	s.mu.Unlock()
	s.retaining.Lock()
	delete(s.reported, region)
	s.retaining.Unlock()
	s.Retain()
}

// errStops says why waits end when Run does.
var errStops = errors.New("the node stops")

// Run passes acknowledgements on, ends waits whose time is over, saves slots and keeps log, until ctx ends.
func (s *Slots) Run(ctx context.Context) {
	ticker := s.config.Clock.NewTicker(interval)
	defer ticker.Stop()
	defer s.tracker.Abandon(errStops)
	for {
		s.passOn(ctx)
		expired := s.config.Clock.NewTimer(max(s.tracker.next(s.config.Clock.Now(), time.Hour), soonest))
		select {
		case <-ctx.Done():
			expired.Stop()
			return
		case <-s.wake:
		case <-s.tracker.changed:
		case <-expired.C():
			s.tracker.expire(s.config.Clock.Now())
		case <-ticker.C():
			s.tracker.expire(s.config.Clock.Now())
			s.tracker.Look()
			s.tellAgain()
			s.persist(ctx)
			s.Retain()
		}
		expired.Stop()
	}
}

// tellAgain has the leader be told what is known already: it may be another one by now, and a region that has
// everything acknowledges nothing more, also one that followed before it was one of the fleet.
func (s *Slots) tellAgain() {
	regions := s.config.Others()
	s.mu.Lock()
	defer s.mu.Unlock()
	for region, a := range s.heard {
		if slices.Contains(regions, region) {
			s.news.note(a)
		}
	}
}

// passOn brings what the source on this node heard to the leader, itself or another.
func (s *Slots) passOn(ctx context.Context) {
	s.mu.Lock()
	news := s.news
	s.news = acknowledgements{}
	s.mu.Unlock()
	for _, a := range news {
		if s.config.Leadership.Leads() {
			if err := s.acknowledge(a); err != nil {
				s.unknown(a.Region, err)
			}
		} else if err := s.askLeader(ctx, a); err != nil && !errors.Is(err, contract.ErrUnknownRegion) {
			s.keepNews(a)
		}
	}
}

// unknown warns of a region that acknowledges and is not one of the fleet, once as long as it follows.
func (s *Slots) unknown(region string, err error) {
	s.mu.Lock()
	warned := s.strange[region]
	s.strange[region] = true
	s.mu.Unlock()
	if !warned {
		s.config.Logger.Warn("acknowledgement of an unknown region", "err", err)
	}
}

func (s *Slots) askLeader(ctx context.Context, a acknowledgement) error {
	addr := s.config.Leader.LeaderAddr()
	if addr == "" {
		return contract.ErrNotReady
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	_, err := peer.Ask(ctx, s.config.Client, addr, question, a)
	return err
}

// keepNews notes an acknowledgement that is to reach the leader.
func (s *Slots) keepNews(a acknowledgement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.note(a)
}

// persist writes what moved to the region's log, and gives up on secondaries that would keep more log than is allowed.
func (s *Slots) persist(ctx context.Context) {
	leads := s.config.Leadership.Leads() // before the state, which has everything then
	state := s.config.Applied.State()
	if !leads || state.Role() == timeline.Diverged {
		return
	}
	moved := s.moved(state)
	if len(moved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	_, err := s.config.Controls.Control(ctx, &timeline.Control{Op: timeline.OpSlots, Slots: moved})
	if err != nil && ctx.Err() == nil {
		s.config.Logger.Debug("slots not saved", "err", err)
	}
}

// moved returns the slots that are not what the state says.
func (s *Slots) moved(state *timeline.State) []timeline.Slot {
	s.turn(state)
	acked := s.tracker.within(state)
	var moved []timeline.Slot
	for _, region := range s.config.Others() {
		held, known := slotOf(state, region)
		next := timeline.Slot{Region: region, Position: max(held.Position, acked[region])}
		primary := state.Role() == timeline.Primary // what others need of a secondary only it knows, when it is primary
		next.Lost = primary && s.losing(state, next.Position, region)
		if next.Position == held.Position && (known && held.Lost || primary && s.gaveUp(region)) {
			next.Lost = true // until it moves again
		}
		if next != held || (!known && next.Position > 0) {
			moved = append(moved, next)
		}
	}
	return moved
}

// losing reports whether a region at p, of which zero says that it was not heard of in this reign, has more behind it
// than is kept for it.
func (s *Slots) losing(state *timeline.State, p contract.Position, region string) bool {
	if p == 0 {
		p = max(timeline.Latest(state.Reigns).First, 1) - 1
	}
	return s.config.Log.exceeds(p, s.boundFor(region))
}

// Now returns the slots with what was acknowledged since they were saved. A region that is not one of the fleet any
// more has none.
func (s *Slots) Now() []timeline.Slot {
	state, regions := s.config.Applied.State(), s.config.Others()
	saved := slices.DeleteFunc(slices.Clone(state.Slots), func(o timeline.Slot) bool {
		return !slices.Contains(regions, o.Region)
	})
	for region, p := range s.tracker.within(state) {
		if !slices.Contains(regions, region) {
			continue
		}
		i := slices.IndexFunc(saved, func(o timeline.Slot) bool { return o.Region == region })
		if i < 0 {
			saved = append(saved, timeline.Slot{Region: region, Position: p})
		} else if p > saved[i].Position {
			saved[i].Position, saved[i].Lost = p, false
		}
	}
	return saved
}

func slotOf(s *timeline.State, region string) (timeline.Slot, bool) {
	for _, o := range s.Slots {
		if o.Region == region {
			return o, true
		}
	}
	return timeline.Slot{Region: region}, false
}
