package votes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Settings are what an operator says about votes; the rest of a charter is found out. They travel as JSON.
type Settings struct {
	Automatic  bool                `json:"automatic"`
	Lease      time.Duration       `json:"lease"`
	Patience   time.Duration       `json:"patience"`
	DriftPPM   uint32              `json:"drift"`
	MaxLoss    uint64              `json:"maxLoss"`
	StopWrites bool                `json:"stopWrites,omitempty"`
	Witnesses  map[string][]string `json:"witnesses,omitempty"` // by name: addresses
}

// Questions to the leader of the primary. The names are on the wire.
const (
	askEnable = peer.Question[Settings, *timeline.Charter]("vote-enable")
	askPause  = peer.Question[pauseOrder, *timeline.Charter]("vote-pause")
)

type pauseOrder struct {
	Reason string `json:"reason"` // "": not paused any more
}

// Orders are what an operator orders of votes. They are safe for concurrent use.
type Orders struct{ *Votes }

func (v Orders) register(r *peer.Registry) {
	peer.Handle(r, askEnable, peer.FleetNode, func(ctx context.Context, s Settings) (*timeline.Charter, error) {
		return v.known(ctx, func() (*timeline.Charter, error) { return v.enable(ctx, s) })
	})
	peer.Handle(r, askChange, peer.FleetNode, func(ctx context.Context, c Change) (*timeline.Charter, error) {
		return v.known(ctx, func() (*timeline.Charter, error) { return v.change(ctx, c) })
	})
	peer.Handle(r, askPolicy, peer.FleetNode, func(ctx context.Context, c Change) (*timeline.Charter, error) {
		return v.known(ctx, func() (*timeline.Charter, error) { return v.change(ctx, c) })
	})
	peer.Handle(r, askRecoverAt, peer.FleetNode, func(ctx context.Context, q recovery) (*timeline.Reign, error) {
		return v.recoverHere(ctx, q.Region, &q.Point)
	})
	peer.Handle(r, askRecover, peer.FleetNode, func(ctx context.Context, q recovery) (*timeline.Reign, error) {
		return v.recoverHere(ctx, q.Region, nil)
	})
	peer.Handle(r, askHold, peer.FleetNode, func(ctx context.Context, o holdOrder) (*timeline.Charter, error) {
		return v.known(ctx, func() (*timeline.Charter, error) { return v.stay(ctx, o) })
	})
	peer.Handle(r, askPause, peer.FleetNode, func(ctx context.Context, o pauseOrder) (*timeline.Charter, error) {
		return v.known(ctx, func() (*timeline.Charter, error) { return v.pause(ctx, o) })
	})
}

// Enable has the fleet take votes from now on. Any node takes the call. Errors: ErrArgument, ErrRejected if votes are
// taken already, ErrNotReady with what is missing, ErrUnknownOutcome.
func (v Orders) Enable(ctx context.Context, s Settings) (*timeline.Charter, error) {
	return atPrimary(ctx, v, askEnable, s, v.enable)
}

// Pause has nothing move by itself while reason is not empty. Any node takes the call. Errors: as of Enable.
func (v Orders) Pause(ctx context.Context, reason string) (*timeline.Charter, error) {
	return atPrimary(ctx, v, askPause, pauseOrder{reason}, v.pause)
}

// atPrimary has the leader of the primary write a charter, wherever that is.
func atPrimary[In any](
	ctx context.Context, v Orders, q peer.Question[In, *timeline.Charter], in In,
	write func(context.Context, In) (*timeline.Charter, error),
) (*timeline.Charter, error) {
	switch to := v.config.Standing.Route(); {
	case to.Local:
		return v.known(ctx, func() (*timeline.Charter, error) { return write(ctx, in) })
	case to.Addr != "":
		return peer.Order(ctx, v.config.Client, to.Addr, q, in)
	default:
		return nil, fmt.Errorf("%w: no leader of the primary answers, and nobody else writes charters",
			contract.ErrNotReady)
	}
}

// known writes a charter, and returns it once a majority of its voters keeps it: before, a region may be voted for by
// the one before.
func (v Orders) known(ctx context.Context, write func() (*timeline.Charter, error)) (*timeline.Charter, error) {
	c, err := write()
	for again := 0; errors.Is(err, errOutrun) && again < outrunTries; again++ {
		c, err = write() // after the one that came first
	}
	if err != nil {
		return nil, err
	}
	err = v.until(ctx, max(2*v.config.Timeout, c.Lease), func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.holder.Known(c.Mark())
	})
	if err != nil {
		return nil, fmt.Errorf("%w: charter %d of epoch %d is written, and not known to a majority of its voters yet; "+
			"see mimir fleet show: %w", contract.ErrUnknownOutcome, c.Number, c.Epoch, err)
	}
	return c, nil
}

// until waits until is, for at most d.
func (v *Votes) until(ctx context.Context, d time.Duration, is func() bool) error {
	for began := v.config.Clock.Elapsed(); !is(); {
		if v.config.Clock.Elapsed()-began >= d {
			return context.DeadlineExceeded
		}
		if err := v.config.Life.Pause(ctx, least); err != nil {
			return err
		}
	}
	return nil
}

// primary returns the state of the region if this node leads it and it is primary.
func (v *Votes) primary() (*timeline.State, error) {
	leads := v.config.Leadership.Leads() // before the state, which has everything then
	s := v.config.Applied.State()
	if !leads || !v.config.Standing.Primary() || !s.Writable() {
		return nil, fmt.Errorf("%w: this node does not lead the primary", contract.ErrNotReady)
	}
	return s, nil
}

// enable writes the first charter: every voter has a ballot before, and every node understands it (V4).
func (v Orders) enable(ctx context.Context, set Settings) (*timeline.Charter, error) {
	s, err := v.primary()
	if err != nil {
		return nil, err
	}
	c := &timeline.Charter{
		Epoch: s.Cursor.Epoch, Number: 1, Lease: set.Lease, Patience: set.Patience, DriftPPM: set.DriftPPM,
		MaxLoss: set.MaxLoss, StopWrites: set.StopWrites, Automatic: set.Automatic,
	}
	if old := s.Charter(); old != nil {
		// After a recovery nobody can be voted for without this region, which changes its mind here: no two majorities
		// come about.
		if len(old.Voters) != 1 || old.Voters[0].ID != v.config.Region {
			return nil, fmt.Errorf("%w: votes are taken already", contract.ErrRejected)
		}
		old = old.Next(s.Cursor.Epoch, timeline.Latest(s.Reigns).First-1)
		if old.Hold != nil { // whose end says up to where was acknowledged, and that is asked of those who vote then
			return nil, fmt.Errorf("%w: %s: mimir fleet hold --end", contract.ErrRejected, ballot.Held(s))
		}
		c.Number, c.Flap, c.Failback, c.Returns, c.Under = old.Number, old.Flap, old.Failback, old.Returns, old.Under
		c.Priorities = old.Priorities
		c.Keeps(&old.Voters[0])
	}
	if err := v.config.Ready(ctx, c.Level()); err != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
	}
	if err := v.enrolAll(ctx, c, set); err != nil {
		return nil, err
	}
	return c, v.write(ctx, c)
}

// enrolAll finds out who votes.
func (v Orders) enrolAll(ctx context.Context, c *timeline.Charter, set Settings) error {
	own, err := v.seat.store.Enrol(ctx)
	if err != nil {
		return err
	}
	voter := timeline.Voter{ID: own.Voter, Identity: own.Identity, Priority: own.Priority}
	voter.Priority = c.Again(&voter)
	c.Voters = append(c.Voters, voter)
	view, _ := v.config.Fleet.View()
	for name := range view.Regions {
		if err := v.add(ctx, c, name, nil); err != nil {
			return err
		}
	}
	for name, addrs := range set.Witnesses {
		if err := v.add(ctx, c, timeline.WitnessPrefix+name, addrs); err != nil {
			return err
		}
	}
	return nil
}

// add adds a voter to a charter, a witness by its addresses, behind the regions.
func (v Orders) add(ctx context.Context, c *timeline.Charter, id string, witness []string) error {
	addrs := witness
	if addrs == nil {
		addrs = v.config.Fleet.Addresses(id)
	}
	ctx, cancel := context.WithTimeout(ctx, v.config.Timeout)
	defer cancel()
	e, err := reach(ctx, v.Votes, id, addrs, askEnrol, peer.Nothing{})
	if v := (timeline.Voter{ID: id}); err == nil && v.Witness() {
		err = e.understands(c.Level())
	}
	if err != nil {
		return fmt.Errorf("%w: %s cannot vote yet: %w", contract.ErrNotReady, id, err)
	}
	if e.Charter != nil && !e.Charter.Related(c, id) {
		return fmt.Errorf("%w: %s votes in another fleet already, and cannot in this one: use another witness",
			contract.ErrRejected, id)
	}
	voter := timeline.Voter{ID: id, Identity: e.Identity, Priority: e.Priority, Addrs: witness}
	voter.Priority = c.Again(&voter)
	c.Voters = append(slices.Clone(c.Voters), voter)
	slices.SortFunc(c.Voters, byID)
	return nil
}

func byID(a, b timeline.Voter) int { return cmp.Compare(a.ID, b.ID) }

// errOutrun says that a charter was not written, since another one was meanwhile: the region writes some by itself.
var errOutrun = fmt.Errorf("%w: another one was written just before", contract.ErrNotReady)

// outrunTries is how often an order is made anew after such a one.
const outrunTries = 5

// faultOf returns why a charter cannot be written, nil if it can.
func faultOf(c *timeline.Charter) error {
	fault := c.Fault()
	if fault == "" && c.Spread() > c.Regions() {
		fault = fmt.Sprintf("where nothing may be lost, of %d voters %d regions have to have a write, and there are %d",
			len(c.Voters), c.Spread(), c.Regions())
	}
	if fault != "" {
		return fmt.Errorf("%w: %s", contract.ErrArgument, fault)
	}
	return nil
}

// write has the region agree on a charter; the voters get it with the next renewal.
func (v *Votes) write(ctx context.Context, c *timeline.Charter) error {
	if err := faultOf(c); err != nil {
		return err
	}
	end, err := v.turns.write()
	if err != nil {
		return err
	}
	defer end()
	if old := v.config.Applied.State().Charter(); old != nil && old.Uncounts(c) {
		return writeBehind(ctx, v, c)
	}
	return agree(ctx, v, c)
}

func agree(ctx context.Context, v *Votes, c *timeline.Charter) error {
	o, err := v.config.Controls.Control(ctx, &timeline.Control{
		Op: timeline.OpCharter, Charter: c, To: v.config.Region,
	})
	if err == nil && o.Outcome == timeline.Skipped {
		err = errOutrun
	} else if err == nil && o.Outcome != timeline.Applied {
		err = fmt.Errorf("%w: %s", contract.ErrRejected, o.Why)
	}
	if err != nil {
		return fmt.Errorf("charter %d of epoch %d: %w", c.Number, c.Epoch, err)
	}
	v.wake.Nudge()
	return nil
}

// next returns the charter that the primary of this epoch may write after its own. It has to have a lease: only one
// primary writes charters.
func (v *Votes) next() (*timeline.Charter, error) {
	s, err := v.primary()
	switch {
	case err != nil:
		return nil, err
	case s.Charter() == nil:
		return nil, fmt.Errorf("%w: no votes are taken: mimir fleet enable", contract.ErrRejected)
	case !v.config.Fence.Holds(s):
		return nil, fmt.Errorf("%w: the primary has no lease", contract.ErrNotReady)
	}
	c := s.Charter().Next(s.Cursor.Epoch, timeline.Latest(s.Reigns).First-1)
	now := v.config.Clock.Now()
	c.Returns = c.Bound().Recent(c.Returns, func(e timeline.Epoch) bool { return e <= c.Epoch || v.returning() }, now)
	return c, nil
}

func (v Orders) pause(ctx context.Context, o pauseOrder) (*timeline.Charter, error) {
	c, err := v.next()
	if err != nil {
		return nil, err
	}
	c.Paused = o.Reason
	return c, v.write(ctx, c)
}

// restamp has a new primary write its charter once, before it may write another: a half-written one of the primary
// before it cannot come up any more.
func (v upkeep) restamp() {
	if c := v.config.Applied.State().Charter(); c == nil || c.Epoch == v.config.Applied.State().Cursor.Epoch {
		return
	}
	if c, err := v.next(); err == nil {
		v.alone(func(ctx context.Context) error { return v.write(ctx, c) })
	}
}

// sees returns the region's state with the newest charter that it heard of. One that cannot be kept by itself, since
// the region voted in a later epoch than it is of, is kept with the next vote.
func (v *Votes) sees() *timeline.State {
	s := v.config.Applied.State()
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.heard; c != nil && s.Charter() != nil && s.Charter().Mark().Before(c.Mark()) {
		return s.Under(c)
	}
	return s
}

// adopt takes a newer charter that a voter told of: with an older one this region would be voted for by nobody. The
// primary that wrote it is the one for which that voter voted, if it tells. One of another fleet is none of this.
func (v *Votes) adopt(voter string, a ballot.Answer) {
	s := v.sees()
	if a.Charter == nil || s.Charter() == nil || !s.Charter().Mark().Before(a.Charter.Mark()) ||
		a.Charter.Fault() != "" || !ofThisFleet(s.Charter(), a.Charter, voter) {
		return
	}
	v.mu.Lock()
	v.heard = a.Charter
	v.mu.Unlock()
	s = v.config.Applied.State()
	if a.Charter.Epoch < s.Ballot.Promised || a.Charter.Epoch > s.Ballot.Promised && a.Charter.Epoch != a.Promised {
		return
	}
	c := &timeline.Control{Op: timeline.OpCharter, Charter: a.Charter, To: a.For}
	v.alone(func(ctx context.Context) error {
		_, err := v.config.Controls.Control(ctx, c)
		return err
	})
}

// ofThisFleet reports whether a charter that a voter told of is of the fleet of this region's own, as far as anybody in
// both shows it: to a witness two fleets may come with one name, so it shows nothing itself.
func ofThisFleet(own, told *timeline.Charter, voter string) bool {
	if w := (&timeline.Voter{ID: voter}); !w.Witness() {
		voter = ""
	}
	return own.Related(told, voter)
}

// enableInitially has the fleet take votes if the configuration says so, as soon as it can.
func (v *Votes) enableInitially() {
	if v.config.Initial == nil {
		return
	}
	if _, err := v.primary(); err == nil {
		v.alone(func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*v.config.Timeout)
			defer cancel()
			_, err := Orders{v}.enable(ctx, *v.config.Initial)
			return err
		})
	}
}

// alone runs what the loop wants of the log, one thing at a time.
func (v *Votes) alone(do func(ctx context.Context) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy {
		return
	}
	v.busy = v.config.Life.Try(func(ctx context.Context) {
		err := do(ctx)
		v.mu.Lock()
		v.busy = false
		times, tell := 0, false
		if err == nil {
			v.unwritten.over()
		} else if ctx.Err() == nil {
			times, tell = v.unwritten.tell(v.config.Clock.Elapsed(), err.Error())
		}
		v.mu.Unlock()
		if tell {
			v.config.Logger.Info("charter not written; will try again", "err", err, "times", times)
		}
	})
}
