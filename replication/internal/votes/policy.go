package votes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// understood returns nil if every node of every region, and every witness, understands the charter c: who does not
// would drop of it what it does not know (V6). ErrOldNode if one is known that does not, whoever does not answer.
func (v *Votes) understood(ctx context.Context, c *timeline.Charter) error {
	level := c.Level()
	if now := v.config.Applied.State().Charter(); now != nil && now.Level() >= level {
		return nil
	}
	why := v.config.Ready(ctx, level)
	for i := range c.Voters {
		w := &c.Voters[i]
		if errors.Is(why, contract.ErrOldNode) || level <= timeline.LevelBallots || !w.Witness() {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, v.config.Timeout)
		e, err := reach(asked, v, w.ID, w.Addrs, askEnrol, peer.Nothing{})
		cancel()
		if err == nil {
			err = e.understands(level)
		}
		if err != nil && (why == nil || errors.Is(err, contract.ErrOldNode)) {
			why = fmt.Errorf("%s: %w", w.ID, err)
		}
	}
	if why != nil {
		return fmt.Errorf("%w: %w", contract.ErrNotReady, why)
	}
	return nil
}

// understands returns why the witness that said this cannot keep what is of this level, nil if it can.
func (e *Enrolment) understands(level timeline.Level) error {
	if level <= timeline.LevelBallots || e.Level >= level {
		return nil
	}
	return fmt.Errorf("%w: it is too old for that: start it with a version that knows it first", contract.ErrOldNode)
}

// remember takes note of the moves that a voter told of.
func (v *Votes) remember(a ballot.Answer) {
	if len(a.Moves) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.moves = timeline.Merge(v.moves, a.Moves)
}

// mark is how far this region had proposed, a while ago.
type mark struct {
	at      ballot.Instant
	reached timeline.Position
}

// keepsUp is how far behind a region may be that is to take over by itself.
const keepsUp = time.Second

// behind says why a region does not keep up with this one, which is primary; "" if it does. The caller holds mu.
func (v *Votes) behind(s *timeline.State, region string) string {
	view, _ := v.config.Fleet.View()
	l := view.Regions[region].Leader()
	switch {
	case l == nil:
		return "no leader of it answers"
	case l.Role != timeline.Secondary:
		return "it is " + string(l.Role)
	case l.ByOrderAlone():
		return "it is kept delayed, and becomes primary by order alone"
	}
	for _, o := range v.holder.Supports() {
		if o.Voter == region && o.Why != "" {
			return o.Why
		}
	}
	for _, slot := range v.config.Slots.Now() {
		if slot.Region == region && !slot.Lost && slot.Position >= min(v.marks[0].reached, s.Cursor.Position) {
			return ""
		}
	}
	return fmt.Sprintf("it lags by more than %v", keepsUp)
}

// back has a region of a higher priority take over, where the charter says so.
func (v *Votes) back() {
	leads, reached := v.config.Leadership.Leads(), v.config.Writes.Reached()
	s := v.config.Applied.State()
	leads = leads && s.Role() == timeline.Primary && s.Writable() && v.config.Fence.Holds(s)
	wall, reached := v.config.Clock.Now(), max(s.Cursor.Position, reached)
	v.mu.Lock()
	now := v.config.Clock.Elapsed()
	if now-v.marks[1].at >= keepsUp {
		v.marks[0], v.marks[1] = v.marks[1], mark{now, reached}
	}
	to := v.returns.Step(now, ballot.BackView{
		State: s, Leads: leads, Wall: wall, Moves: v.moves,
		Behind: func(region string) string { return v.behind(s, region) },
	})
	why := v.returns.Why()
	times, tell := 0, false
	if why != "" {
		times, tell = v.failback.tell(now, why)
	} else {
		v.failback.over()
	}
	v.mu.Unlock()
	if tell {
		v.config.Logger.Info("failback", "state", why, "times", times)
	}
	if to != "" && !v.config.Life.Try(func(ctx context.Context) { v.giveBack(ctx, to) }) {
		v.ended(nil)
	}
}

// giveBack switches over to a region. That it did by itself is kept by a majority before.
func (v *Votes) giveBack(ctx context.Context, to string) {
	v.config.Logger.Warn("switches over to a region of a higher priority", "to", to)
	v.config.event(timeline.Event{Kind: timeline.EventFailback, Other: to, ByItself: true})
	_, err := Orders{v}.known(ctx, func() (*timeline.Charter, error) {
		c, err := v.next()
		if err != nil {
			return nil, err
		}
		c.Returns = timeline.Merge(c.Returns, []timeline.Move{{Epoch: c.Epoch + 1, At: v.config.Clock.Now()}})
		return c, v.write(ctx, c)
	})
	if err == nil {
		err = v.config.Governor.GiveBack(ctx, to)
	}
	if err != nil && ctx.Err() == nil {
		v.config.Logger.Warn("not switched over", "to", to, "err", err)
	}
	v.ended(err)
}

// returning reports whether a failback is under way.
func (v *Votes) returning() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.returns.UnderWay()
}

// strike has no failback count that came to nothing, be it one that a leader before this one ordered: else it would
// once the primary moves in that epoch for another reason.
func (v upkeep) strike() {
	s := v.config.Applied.State()
	if c := s.Charter(); c == nil || !c.Awaits(s.Cursor.Epoch) || v.returning() {
		return
	}
	if c, err := v.next(); err == nil {
		v.alone(func(ctx context.Context) error { return v.write(ctx, c) })
	}
}

func (v *Votes) ended(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.returns.Ended(v.config.Clock.Elapsed(), silence(err))
}
