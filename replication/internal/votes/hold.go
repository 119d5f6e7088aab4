package votes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// To the leader of the primary.
const askHold = peer.Question[holdOrder, *timeline.Charter]("vote-hold")

type holdOrder struct {
	For time.Duration `json:"for,omitempty"` // zero: the hold ends
}

// ending is a hold that is to end, or the time of a charter without one, behind which another one says up to where was
// acknowledged: what this leader knows in its term.
type ending struct {
	term    uint64
	hold    *timeline.Hold // nil: there is none
	by      timeline.Mark  // of the charter behind it; zero: nothing is to end
	writing bool           // that is on its way; else nothing is known of it
	wanted  bool           // nothing was written yet: it waits for a majority
}

// Hold has the primary stay where it is for so long from now, and go on while other voters are away: who can be asked
// now promises that. It takes the place of a hold before. Zero ends it. Any node takes the call. Errors: as of Enable;
// ErrArgument where writes wait for other regions; ErrNotReady where the primary goes on by its hold alone, which stays
// as it is.
func (v Orders) Hold(ctx context.Context, d time.Duration) (*timeline.Charter, error) {
	c := v.config.Applied.State().Charter()
	if d > 0 && (c == nil || c.Level() < timeline.LevelHold) { // an older leader would not know the question
		if err := v.config.Ready(ctx, timeline.LevelHold); err != nil {
			return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
		}
	}
	return atPrimary(ctx, v, askHold, holdOrder{d}, v.stay)
}

func (v Orders) stay(ctx context.Context, o holdOrder) (*timeline.Charter, error) {
	if o.For == 0 {
		return v.release(ctx)
	}
	end, err := v.turns.order("a hold of the primary is being ordered")
	if err != nil {
		return nil, err
	}
	defer end()
	c, err := v.next()
	if err != nil {
		return nil, err
	}
	before := c.Hold
	c.Hold = &timeline.Hold{For: o.For, Until: v.config.Clock.Now().Add(o.For), Counted: true}
	if fault := c.Fault(); fault != "" {
		return nil, fmt.Errorf("%w: %s", contract.ErrArgument, fault)
	}
	if v.understood(ctx, c) != nil { // then who starts anew waits for all of it again
		c.Hold.Counted = false
		if err := v.understood(ctx, c); err != nil {
			return nil, err
		}
	}
	if before != nil { // who is away promised by that one, which counts no more once another is written
		if away := v.away(ctx); away != "" {
			return nil, fmt.Errorf("%w: %s, and goes on by that alone, since no majority of the voters answers (not "+
				"%s): with another hold, which they cannot promise, it would acknowledge nothing. Order it when they "+
				"answer", contract.ErrNotReady, ballot.Held(v.config.Applied.State()), away)
		}
	}
	return c, v.write(ctx, c)
}

// release ends the hold, once a majority supports the primary without it: else it would acknowledge nothing. It counts
// for nothing any more before that is written, and what was acknowledged by then stands in the charter (B8).
func (v Orders) release(ctx context.Context) (*timeline.Charter, error) {
	c, err := v.next()
	switch {
	case err != nil:
		return nil, err
	case c.Hold == nil:
		return nil, fmt.Errorf("%w: the primary is not held", contract.ErrRejected)
	}
	term, _ := v.config.Leadership.Term()
	if away := v.needed(ctx, term); away != "" {
		return nil, fmt.Errorf("%w: without the hold the primary would acknowledge nothing, since no majority of the "+
			"voters answers (not %s): it counts until then, and ends by itself as soon as one does",
			contract.ErrNotReady, away)
	}
	before, ok := v.ends(ending{term: term, hold: c.Hold, by: c.Mark(), writing: true})
	if !ok {
		return nil, fmt.Errorf("%w: the hold is about to end", contract.ErrNotReady)
	}
	v.hold(nil)
	reached := v.config.Writes.Reached()
	c = c.Ends(max(reached, v.config.Applied.State().Cursor.Position))
	err = v.write(ctx, c)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending.writing = false; err != nil && !errors.Is(err, contract.ErrUnknownOutcome) {
		v.ending = before // of which nothing may be known yet
	}
	if now := v.config.Applied.State().Charter(); errors.Is(err, errOutrun) && now.Hold == nil {
		return now, nil // by an end that the region wrote by itself
	}
	return c, err
}

// needed returns who does not support the primary, if it goes on by its hold alone; then that is to end when a majority
// supports it. "": it may end now.
func (v Orders) needed(ctx context.Context, term uint64) (away string) {
	c := v.config.Applied.State().Charter()
	ends := func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.holder.Expired(c) || v.ending.writing || v.ending.of(term, c)
	}
	if ends() {
		return ""
	}
	if away = v.away(ctx); away == "" || ends() {
		return ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ending = ending{term: term, hold: c.Hold, wanted: true}
	return away
}

// away returns who does not support the primary, if no majority does that is asked now, also without a hold; "": one
// does. What they said before tells nothing of now. A voter may be about to answer an earlier question, and then the
// one that counts: each may take a third of a lease.
func (v Orders) away(ctx context.Context) string {
	s, since := v.config.Applied.State(), v.config.Clock.Elapsed()
	if v.until(ctx, 2*s.Charter().Lease/3+least, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.holder.Supported(since)
	}) == nil {
		return ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return cmp.Or(strings.Join(v.holder.Away(since), ", "), "nobody did yet")
}

// ends has the hold end by e, unless it does by another; before is what was to end it.
func (v Orders) ends(e ending) (before ending, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending.writing {
		return before, false
	}
	before, v.ending = v.ending, e
	return before, true
}

// of reports whether that leader ends this hold: not any more when a charter took the place of the one that was to end
// it, and has the hold.
func (e ending) of(term uint64, c *timeline.Charter) bool {
	return e.term == term && e.hold.Same(c.Hold) && c.Mark().Before(e.by)
}

// waits reports whether that leader ends this hold once a majority supports it without.
func (e ending) waits(term uint64, c *timeline.Charter) bool {
	return e.wanted && e.term == term && e.hold.Same(c.Hold)
}

// expire ends a hold whose time is over, or that was to end: when a majority is back, or if it is not known what became
// of it.
func (v upkeep) expire() {
	c := v.config.Applied.State().Charter()
	term, _ := v.config.Leadership.Term()
	v.mu.Lock()
	over := c != nil && c.Hold != nil &&
		(v.holder.Expired(c) || v.ending.of(term, c) && !v.ending.writing ||
			v.ending.waits(term, c) && v.holder.Supported(0))
	v.mu.Unlock()
	if !over {
		return
	}
	if _, err := v.next(); err == nil {
		v.alone(func(ctx context.Context) error {
			_, err := Orders(v).release(ctx)
			return err
		})
	}
}
