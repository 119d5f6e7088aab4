package votes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Status describes who votes and what the promises come to, as this node sees it; nil where no votes are taken. Lease,
// ceiling and support are known at the leader of the primary alone.
func (v *Votes) Status() *contract.VoteStatus {
	s := v.config.Applied.State()
	c := s.Charter()
	if c == nil {
		return nil
	}
	held := v.seat.held()
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.config.Clock.Elapsed()
	out := &contract.VoteStatus{
		Charter: c.Mark().Number, Epoch: c.Epoch, Automatic: c.Automatic, Paused: c.Paused,
		Lease: c.Lease, Former: c.Former,
		HeldUntil: heldUntil(c), HeldLeft: held,
		MaxLoss: c.MaxLoss, Spread: c.Spread(), Promised: s.Ballot.Promised, For: s.Ballot.For, Why: v.candidate.Why(),
	}
	for id, p := range c.Priorities {
		if c.Voter(id) == nil {
			if out.Priorities == nil {
				out.Priorities = map[string]uint8{}
			}
			out.Priorities[id] = p
		}
	}
	bound := c.Bound()
	out.FlapMoves, out.FlapWithin, out.Failback = bound.Moves, bound.Within, c.Failback
	out.Moves = ballot.Moves(s, v.moves, nil, v.config.Clock.Now())
	out.KeptUntil, out.Return = bound.Until(out.Moves), v.returns.Why()
	term, leads := v.config.Leadership.Term()
	if leads = leads && s.Role() == timeline.Primary; leads {
		out.HeldLeft, out.HeldEnds = v.holder.Left(), v.ending.waits(term, c)
		out.Holds = now < v.evidence.Until
		out.Left, out.Ceiling = max(v.evidence.Until-now, 0), v.evidence.Ceiling
		out.Fenced = !out.Holds
		if out.Fenced {
			out.FencedFor = now - v.since
		}
	}
	for _, voter := range c.Voters {
		w := contract.VoterStatus{ID: voter.ID, Priority: voter.Priority, Witness: voter.Witness()}
		if leads {
			describe(&w, v.holder.Supports(), now)
		}
		out.Voters = append(out.Voters, w)
	}
	return out
}

func heldUntil(c *timeline.Charter) (at time.Time) {
	if c.Hold != nil {
		at = c.Hold.Until
	}
	return at
}

func describe(w *contract.VoterStatus, supports []ballot.Support, now ballot.Instant) {
	for _, s := range supports {
		if s.Voter != w.ID {
			continue
		}
		w.Supports, w.Problem = now < s.Until, s.Why
		if s.Why != "" {
			w.ProblemFor = now - s.Since
		}
	}
}

// Outlook implements overview.Votes.
func (v *Votes) Outlook() (warnings, notes []string) {
	s := v.Status()
	if s == nil || !s.Holds {
		return nil, nil // a primary that is fenced says why
	}
	if !s.HeldUntil.IsZero() {
		notes = append(notes, v.heldNote(s))
	}
	waits, named := v.waits(s)
	if waits != "" {
		warnings = append(warnings, waits)
	}
	for _, w := range s.Voters {
		away := w.Problem != "" && w.ProblemFor >= s.Lease
		if away && s.HeldUntil.IsZero() && !slices.Contains(named, w.ID) { // else it may be away, or more is said
			warnings = append(warnings, fmt.Sprintf("%s has not supported the primary for %.0f s, and %s: %s", w.ID,
				w.ProblemFor.Seconds(), spare(s), w.Problem))
		}
	}
	if !s.KeptUntil.IsZero() && s.Automatic && s.Paused == "" {
		warnings = append(warnings, ballot.Moved(len(s.Moves), s.FlapWithin, s.KeptUntil))
	}
	if late := v.needsLate(); late != "" && s.Automatic {
		notes = append(notes, late)
	}
	if s.Return != "" {
		notes = append(notes, s.Return)
	}
	return warnings, notes
}

// spare says for people what becomes of writes if more voters are lost.
func spare(s *contract.VoteStatus) string {
	supporters := 0
	for _, w := range s.Voters {
		if w.Supports {
			supporters++
		}
	}
	switch more := supporters - (len(s.Voters)/2 + 1); {
	case more <= 0 || s.MaxLoss == 0: // where nothing may be lost, writes wait for regions, too
		return "one more loss may stop writes"
	case more == 1:
		return "writes go on if one more is lost"
	default:
		return fmt.Sprintf("writes go on if %d more are lost", more)
	}
}

// heldNote says what a hold means now.
func (v *Votes) heldNote(s *contract.VoteStatus) string {
	note := ballot.Held(v.config.Applied.State()) + ": it goes on while other voters are away, and a failover may " +
		"lose any number of writes"
	v.mu.Lock()
	alone := !v.holder.Supported(0)
	v.mu.Unlock()
	if alone {
		note += "; now it goes on by that alone, and another node that came to lead it would acknowledge nothing " +
			"until a majority of the voters answers"
	}
	if s.HeldEnds {
		note += "; its end was ordered, and comes as soon as a majority of the voters answers"
	}
	return note
}

// waits says that writes wait for regions that are away, where nothing may be lost, and who those are; "" if they do
// not. What counts is whether they store what is written: one that refuses its vote may, and one that gives it may not.
// Of one that does not answer nothing else is known, if nothing was written since.
func (v *Votes) waits(s *contract.VoteStatus) (says string, away []string) {
	c := v.config.Applied.State().Charter()
	if c == nil || s.MaxLoss != 0 {
		return "", nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.config.Clock.Elapsed()
	have := 0
	var quiet, lack []string
	for _, w := range s.Voters {
		stores := v.stores[w.ID]
		switch {
		case w.Witness:
		case w.ID == v.config.Region:
			have++
		case w.ProblemFor >= s.Lease && silent(v.holder.Supports(), w.ID):
			quiet = append(quiet, w.ID)
		case stores != nil && stores.lacks(now, s.Lease):
			lack = append(lack, w.ID)
		default:
			have++
		}
	}
	if have >= c.Spread() {
		return "", nil
	}
	var why []string
	if len(quiet) > 0 {
		why = append(why, strings.Join(quiet, ", ")+" did not answer for a lease")
	}
	if len(lack) > 0 {
		why = append(why, strings.Join(lack, ", ")+" did not store what was written a lease ago")
	}
	return fmt.Sprintf("nothing may be lost, so writes wait until %d regions have them, and linearizable reads wait "+
		"for the writes that they see; %s", c.Spread(), strings.Join(why, "; ")), append(quiet, lack...)
}

// silent reports whether a voter does not answer.
func silent(supports []ballot.Support, voter string) bool {
	return slices.ContainsFunc(supports, func(s ballot.Support) bool { return s.Voter == voter && s.Silent })
}

// needsLate says that nobody takes over from this primary but by order, or that there is no majority without it but
// with a region that is kept delayed: that may store something before others, and votes for nobody who has less. "" if
// there is one.
func (v *Votes) needsLate() string {
	c := v.config.Applied.State().Charter()
	if c == nil {
		return ""
	}
	view, _ := v.config.Fleet.View()
	var late []string
	others := false
	for _, w := range c.Voters {
		if w.ID == v.config.Region {
			continue
		}
		if l := view.Regions[w.ID].Leader(); l != nil && l.ByOrderAlone() {
			late = append(late, w.ID)
		} else if w.Priority > 0 {
			others = true
		}
	}
	switch {
	case len(late) == 0 || len(c.Voters)-1-len(late) >= c.Majority() && others:
		return ""
	case !others:
		return fmt.Sprintf("nobody takes over from %s by itself: %s is kept delayed, and becomes primary by order "+
			"alone", v.config.Region, strings.Join(late, ", "))
	}
	return fmt.Sprintf("a failover needs the vote of %s, which is kept delayed: should it have more by then than the "+
		"others, it takes an order, mimir failover --to %s --force", strings.Join(late, ", "), late[0])
}

// GoesOn says for people what the sealed primary that this node leads does to go on without the region to, for which it
// is sealed, and from when on; "" where it cannot by itself: no votes are taken, or there is no majority without that.
func (v *Votes) GoesOn(to string) string {
	s := v.config.Applied.State()
	c := s.Charter()
	if c == nil || c.Voter(s.Region) == nil || !c.Spares(to) {
		return ""
	}
	if v.config.Governor.Unheard() == 0 {
		return fmt.Sprintf("if %s neither begins nor refuses, %s asks the voters to let it go on", to, s.Region)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at, waits := v.candidate.Due()
	left, why := at-v.config.Clock.Elapsed(), v.candidate.Why()
	switch {
	case why != "":
		return fmt.Sprintf("%s goes on without %s as soon as a majority of the voters lets it: %s; if %s is lost for "+
			"good and that stays so: mimir failover --to %s --force", s.Region, to, why, to, s.Region)
	case waits && left > 0:
		return fmt.Sprintf("%s asks the voters to let it go on without %s, from %s on", s.Region, to,
			v.config.Clock.Now().Add(left).UTC().Format(time.RFC3339))
	default:
		return fmt.Sprintf("%s asks the voters to let it go on without %s", s.Region, to)
	}
}

// heldSilent says that nobody takes over from a primary which does not answer, since it is held, or was, as far as this
// region knows, which counts how much may be left; "" if it answers.
func heldSilent(c *Config, left time.Duration) string {
	s := c.Applied.State()
	primary := timeline.Latest(s.Reigns).Primary
	view, _ := c.Fleet.View()
	if c := s.Charter(); c == nil || c.Hold == nil || s.Role() != timeline.Secondary ||
		view.Regions[primary].Leader() != nil {
		return ""
	}
	again := ""
	switch h := s.Charter().Hold; {
	case left == 0:
		return fmt.Sprintf("does not take over: %s was held until %s, which is over by now at the latest, and does "+
			"not answer; it takes an order, since nobody knows how much is lost: mimir failover --to %s --force",
			primary, h.Until.UTC().Format(time.RFC3339), s.Region)
	case !h.Counted:
		again = ", and a voter that was started anew since then, or has a new leader, waits for the whole length of " +
			"the hold again"
	}
	return fmt.Sprintf("does not take over: %s, for %v more at most as %s counts, and does not answer; afterwards it "+
		"takes an order, since nobody knows how much is lost%s; sooner, if the primary is stopped for certain: mimir "+
		"fleet recover", ballot.Held(s), left.Round(time.Second), s.Region, again)
}

// Problem says for people what keeps the primary that this node leads from acknowledging, or the secondary from taking
// over; "" if nothing does.
func (v *Votes) Problem() string {
	s := v.Status()
	if s == nil || !v.config.Leadership.Leads() {
		return ""
	}
	if !s.Fenced {
		if s.Why != "" {
			return "does not take over: " + s.Why
		}
		return heldSilent(&v.config, s.HeldLeft)
	}
	reasons := []string{fmt.Sprintf("fenced for %.1f s, acknowledges nothing", s.FencedFor.Seconds())}
	for _, w := range s.Voters {
		if w.Problem != "" {
			reasons = append(reasons, fmt.Sprintf("%s, for %.1f s: %s", w.ID, w.ProblemFor.Seconds(), w.Problem))
		}
	}
	return strings.Join(reasons, "; ")
}
