package votes

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Slots know what the secondaries have acknowledged.
type Slots interface{ Now() []timeline.Slot }

// Writes know how far the leader has proposed.
type Writes interface {
	// Reached returns the last position that was proposed, zero if there is none that is not applied. It is read before
	// the state, which has what came to its end since.
	Reached() timeline.Position
	// Stalled reports whether something was proposed so long ago, and is not applied.
	Stalled(longer time.Duration) bool
}

// Config is what Votes need. All fields but Formed, Strange, Event and Initial are required.
type Config struct {
	Region     string
	Priority   uint8
	Delayed    bool          // it is configured to show its history late, and becomes primary by order alone
	Timeout    time.Duration // of one question that is not bound by the lease
	Clock      clock.Clock
	Logger     *slog.Logger
	Life       *life.Life
	Applied    *region.Applied
	Leadership *region.Leadership
	Fleet      *fleet.Watcher
	Standing   *standing.Standing
	Fence      *standing.Fence
	Leader     standing.Leader
	Client     *peer.Client
	Group      Group
	Controls   Controls
	Governor   Governor
	Slots      Slots
	Writes     Writes
	Witnesses  Witnesses
	// Formed returns the disks with which this region was formed; nil if that is not known. Nil: it is not said.
	Formed func() map[uint64]string
	// Moving returns the region to which this node moves the primary, "" if it does not; sealing says that the seal for
	// it is on its way to the log, or there.
	Moving func() (to string, sealing bool)
	// Strange says why another region that was formed with these disks is not the one that is known under that name:
	// it is not voted for. Nil: none is.
	Strange func(region string, formed map[uint64]string) error
	// Changed is told when the lease has come, gone or grown. It must not block.
	Changed func()
	// Ready returns nil once every node of every region is known to understand what is of level (V4).
	Ready func(ctx context.Context, level timeline.Level) error
	// Event is told when the lease comes and goes, and of a failover by votes. It must not block. May be nil.
	Event func(timeline.Event)
	// Initial is the charter of a fleet that has none; nil: votes are taken when somebody orders it.
	Initial *Settings
}

// Votes are what a node of a region does about who may be primary. They are safe for concurrent use.
type Votes struct {
	config Config
	seat   *Seat
	wake   wake.Signal
	turns  turns

	mu        sync.Mutex
	holder    *ballot.Holder
	candidate *ballot.Candidate
	stumble   stumble
	evidence  ballot.Evidence
	held      bool
	since     ballot.Instant // it is held, or not, in epoch
	epoch     timeline.Epoch
	kept      steady // why the candidate does not stand, as it was logged
	failback  steady // why nobody takes over from this primary, likewise
	unwritten steady // why what the loop began came to nothing, likewise
	returns   *ballot.Back
	moves     []timeline.Move // of the primary by itself, of which voters told
	marks     [2]mark         // the older one first
	keeps     keeping
	stores    stores
	ending    ending
	dice      *rand.Rand        // so that two regions do not ask at the same time for ever
	busy      bool              // something is on its way to the log that the loop began
	heard     *timeline.Charter // the newest that a voter told of; nil: none
}

// New returns Votes; nothing is asked before Run.
func New(c Config) *Votes {
	seed := fnv.New64a()
	seed.Write([]byte(c.Region))
	v := &Votes{
		dice:   rand.New(rand.NewPCG(seed.Sum64(), uint64(c.Clock.Now().UnixNano()))),
		config: c, wake: c.Fence.Short(), holder: ballot.NewHolder(c.Region), candidate: ballot.NewCandidate(c.Region),
		returns: ballot.NewBack(c.Region), stores: stores{}, turns: turns{moving: c.Moving},
	}
	v.seat = NewSeat(c.Region, c.Clock, c.Life, store{&v.config})
	return v
}

// Nudge has it look again: a beginning or a control was applied.
func (v *Votes) Nudge() { v.wake.Nudge() }

// Register registers what a voter, and the leader of the primary, answer.
func (v *Votes) Register(r *peer.Registry) {
	v.seat.Register(r)
	Orders{v}.register(r)
}

// idle is how often it is looked for a charter.
const idle = 500 * time.Millisecond

// Run renews and asks for votes, until ctx ends.
func (v *Votes) Run(ctx context.Context) {
	timer := v.config.Clock.NewTimer(idle)
	defer timer.Stop()
	for {
		every := idle
		if c := v.config.Applied.State().Charter(); c != nil {
			every = max(c.Lease/24, least)
			v.look()
			every = v.rest(every)
		} else {
			v.enableInitially()
		}
		timer.Reset(every)
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		case <-v.wake:
			timer.Reset(least) // however much is nudged
			select {
			case <-ctx.Done():
				return
			case <-timer.C():
			}
		}
	}
}

// rest returns for how long nothing has to be looked at, at most longest: no lease ends meanwhile, which closes the
// pipeline.
func (v *Votes) rest(longest time.Duration) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.config.Clock.Elapsed()
	next := now + longest
	if due, ok := v.candidate.Due(); ok {
		next = min(next, due)
	}
	if v.held {
		next = min(next, v.evidence.Until)
	}
	return max(next-now, time.Millisecond)
}

// look takes a step of each machine.
func (v *Votes) look() {
	if gap := v.stumble.look(v.config.Clock); gap > 0 {
		v.config.Logger.Warn("a clock has jumped; what was promised before counts no more", "gap", gap)
		v.config.Fence.Grant(ballot.Evidence{}) // also of a former leader, whose promises are not asked for any more
		v.hold(ballot.Stumbled{Gap: gap})
	}
	v.hold(nil)
	v.stand(nil)
	for _, tend := range []func(upkeep){upkeep.restamp, upkeep.lower, upkeep.strike, upkeep.expire,
		upkeep.decide} {
		tend(upkeep{v})
	}
	v.back()
}

// hold takes a step of the holder, and tells the fence what it comes to.
func (v *Votes) hold(in ballot.Input) {
	term, _ := v.config.Leadership.Term() // before the state, which has everything then
	reached := v.config.Writes.Reached()
	s := v.config.Applied.State()
	c := s.Charter()
	if c == nil {
		return
	}
	slots := v.config.Slots.Now()
	view := ballot.HolderView{
		Term: term, State: s, Reached: max(s.Cursor.Position, reached), Shared: v.shared(s, slots),
		Stalled: v.config.Writes.Stalled(c.Lease / 2), Wall: v.config.Clock.Now(),
	}
	v.mu.Lock()
	view.Ending = v.ending.of(term, c)
	now := v.config.Clock.Elapsed() // with the lock: it does not go back between steps
	effects := v.holder.Step(now, view, in)
	e := v.holder.Evidence()
	held := now < e.Until
	changed := held != v.held || e.Ceiling != v.evidence.Ceiling || e.Until != v.evidence.Until
	flipped := held != v.held
	if reign := timeline.Latest(s.Reigns).Epoch; flipped || v.since == 0 || reign != v.epoch {
		v.since, v.epoch = now, reign
	}
	v.evidence, v.held = e, held
	if term != 0 && s.Role() == timeline.Primary {
		v.config.Fence.Grant(e)
		v.stores.look(now, s, slots)
	} else {
		clear(v.stores)
	}
	v.mu.Unlock()
	for _, e := range effects {
		v.renew(c, e)
	}
	if flipped && term != 0 {
		v.config.Logger.Info("lease", "held", held, "epoch", e.Epoch)
		v.config.tellLease(s, held, e.Epoch)
	}
	if changed {
		v.config.Changed()
	}
}

// shared returns the highest position that a region which may be primary has acknowledged.
func (v *Votes) shared(s *timeline.State, slots []timeline.Slot) (p timeline.Position) {
	for _, o := range slots {
		if voter := s.Charter().Voter(o.Region); voter != nil && voter.Priority > 0 && o.Region != v.config.Region {
			p = max(p, o.Position)
		}
	}
	return p
}

func (v *Votes) renew(c *timeline.Charter, e ballot.Effect) {
	v.config.Life.Try(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.Lease/3)
		defer cancel()
		a, err := v.renewal(ctx, c, e)
		v.remember(a)
		v.hold(ballot.Renewed{Call: e.Call, Voter: e.Voter, Answer: a, Silence: silence(err)})
	})
}

// stand takes a step of the candidate.
func (v *Votes) stand(in ballot.Input) {
	term, _ := v.config.Leadership.Term()
	lost := v.config.lost()
	s := v.sees()
	c := s.Charter()
	if c == nil {
		return
	}
	quiet, _ := v.seat.quiet()
	supports := v.seat.supports()
	rank, unheard := v.rank(s), v.config.Governor.Unheard()
	picture, _ := v.config.Fleet.View()
	strayed := astray(c, picture)
	v.mu.Lock()
	view := ballot.CandidateView{
		Term: term, State: s, Quiet: quiet, Supports: supports, Beaten: max(v.holder.Beaten(), strayed), Rank: rank,
		Unheard: unheard,
		Wall:    v.config.Clock.Now(), Dice: v.dice.Uint64(), Late: s.Delay != nil || v.config.Delayed,
		Lost: lost,
	}
	now := v.config.Clock.Elapsed()
	effects := v.candidate.Step(now, view, in)
	why := v.candidate.Why()
	times, tell := 0, false
	if why != "" {
		times, tell = v.kept.tell(now, why)
	} else if now < quiet {
		v.kept.over()
	}
	v.mu.Unlock()
	if tell {
		v.config.Logger.Info(fails(s), "err", why, "times", times)
	}
	for _, e := range effects {
		v.campaign(c, e)
	}
}

// astray returns the highest epoch for which a region voted that does not vote any more, zero if none is known: it had
// not heard that its vote was taken away, follows no reign before that epoch, and no voter is asked of it.
func astray(c *timeline.Charter, v fleet.View) (e timeline.Epoch) {
	for name, r := range v.Regions {
		if l := r.Leader(); l != nil && l.Voting != nil && c.Voter(name) == nil {
			e = max(e, l.Voting.Promised)
		}
	}
	return e
}

// fails says what the candidate of a region in this state does not do.
func fails(s *timeline.State) string {
	if s.Role() == timeline.Primary {
		return "does not go on"
	}
	return "does not take over"
}

// lost says what the region is known to have lost of its own reign, which others have, if this node leads it; "":
// nothing.
func (c *Config) lost() string {
	picture, _ := c.Fleet.View() // before what was written meanwhile
	leads, reached := c.Leadership.Leads(), c.Writes.Reached()
	if l := c.Standing.Loss(picture, c.Applied.State(), reached); leads && l != nil {
		return l.Holds()
	}
	return ""
}

func (v *Votes) campaign(c *timeline.Charter, e ballot.Effect) {
	switch e.Do {
	case ballot.Sound:
		v.config.Life.Try(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, c.Lease/3)
			defer cancel()
			a, err := v.sound(ctx, c, e.Voter, e.Candidacy)
			v.adopt(e.Voter, a)
			v.remember(a)
			v.stand(ballot.Sounded{Call: e.Call, Voter: e.Voter, Answer: a, Silence: silence(err)})
		})
	case ballot.Stand:
		v.config.Life.Try(func(ctx context.Context) {
			v.config.Logger.Warn("asks for votes", "epoch", e.Epoch)
			before := v.config.unheard()
			r, mandate, err := v.config.Governor.Stand(ctx, e.Epoch, false)
			if err == nil {
				v.config.tellMove(before, *r, mandate)
				v.config.Logger.Warn("took over by votes", "epoch", r.Epoch, "position", r.First-1, "lossy", r.Lossy,
					"atMostLost", atMost(mandate.Lost))
			} else {
				v.config.Logger.Warn("not voted for", "epoch", e.Epoch, "err", err)
			}
			v.stand(ballot.Stood{Why: silence(err)})
			v.wake.Nudge()
		})
	}
}

func (v *Votes) renewal(ctx context.Context, c *timeline.Charter, e ballot.Effect) (ballot.Answer, error) {
	if e.Voter == v.config.Region {
		return v.seat.renew(ctx, e.Renewal)
	}
	return askVoter(ctx, v, c, e.Voter, askRenew, func(heard []fleet.Word) *renewal {
		return &renewal{e.Renewal, e.Voter, heard}
	})
}

func silence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// atMost is a bound of loss for a log: a number, or that there is none.
func atMost(n uint64) any {
	if n == timeline.NoBound {
		return "any number"
	}
	return n
}

// before reports whether of two regions that are equally far a is to be primary.
func before(a, b *timeline.Voter) bool {
	return a.Priority > b.Priority || a.Priority == b.Priority && a.ID < b.ID
}

// rank returns how many regions are known that had better take over: they have more, or as much and the precedence, and
// do so of their own accord.
func (v *Votes) rank(s *timeline.State) (n int) {
	view, _ := v.config.Fleet.View()
	own := s.Charter().Voter(v.config.Region)
	for _, voter := range s.Charter().Voters {
		l := view.Regions[voter.ID].Leader()
		if own == nil || voter.Priority == 0 || voter.ID == timeline.Latest(s.Reigns).Primary || l == nil ||
			l.ByOrderAlone() {
			continue
		}
		relation, _ := timeline.Compare(s.Reigns, l.Reigns, s.Cursor.Position, l.Cursor.Position)
		if relation == timeline.Prefix && (l.Cursor.Position > s.Cursor.Position || before(&voter, own)) {
			n++
		}
	}
	return n
}
