package ballot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Candidate decides when the leader of a region asks for votes of its own accord. It is not safe for concurrent use.
type Candidate struct {
	id       string
	now      Instant
	view     CandidateView
	out      []Effect
	phase    phase
	since    Instant // when that began
	next     Instant // nothing is tried before
	quiet    Instant // the view's, for which turn was drawn
	turn     time.Duration
	round    uint64
	asked    timeline.Epoch     // in this round
	answers  map[string]*Answer // to the soundings of this round
	silent   map[string]string
	deferred bool           // to a region that is further, once
	heard    timeline.Epoch // the highest one for which anybody voted
	ruled    timeline.Reign // that the charter is known to rule: its voters decided it
	why      string
}

type phase int

const (
	waiting phase = iota
	sounding
	standing
)

// CandidateView is what the leader of a region sees.
type CandidateView struct {
	Term  uint64 // in which it leads; zero: it does not
	State *timeline.State
	// Quiet is from when on the region's own promise forbids nothing.
	Quiet Instant
	// Supports is whom the region's own voter supported last, and in which epoch.
	Supports Ruler
	// Unheard is for how long a primary that is sealed has asked the other region to refuse the handoff, in vain; zero:
	// it does not, so the handoff may come to its end.
	Unheard time.Duration
	// Beaten is what Holder.Beaten says.
	Beaten timeline.Epoch
	// Lost is what it is known to have lost of its own reign, which others have; "": nothing.
	Lost string
	// Late says that the region shows its history late: it becomes primary by order alone.
	Late bool
	// Rank is how many regions are known that had better take over.
	Rank int
	// Wall is the wall time, for what the charter says of how often the primary moves by itself, and for nothing else.
	Wall time.Time
	// Dice is random, so that two regions do not ask at the same time for ever.
	Dice uint64
}

const (
	rankStep   = 150 * time.Millisecond
	jitter     = 100 * time.Millisecond
	soundAgain = 500 * time.Millisecond
	standAgain = 200 * time.Millisecond
	deferFor   = time.Second
)

// NewCandidate returns the candidate of a region.
func NewCandidate(id string) *Candidate { return &Candidate{id: id} }

// Sounded is the answer to a Sound; Silence says why there is none.
type Sounded struct {
	Call    uint64
	Voter   string
	Answer  Answer
	Silence string
}

// Stood tells what came of a Stand: "" if the epoch began, or why not.
type Stood struct{ Why string }

func (Sounded) input() {}
func (Stood) input()   {}

// Step takes one step at the reading now.
func (c *Candidate) Step(now Instant, v CandidateView, in Input) []Effect {
	if v.Term != c.view.Term {
		*c = Candidate{id: c.id}
	}
	c.now, c.view, c.out = now, v, nil
	switch in := in.(type) {
	case Sounded:
		c.sounded(in)
	case Stood:
		c.stood(in)
	}
	c.learn()
	if c.phase != standing && !c.may() {
		c.phase, c.deferred, c.why = waiting, false, c.barred()
		return nil
	}
	if c.phase == waiting && c.hears() { // what it said is over, too
		c.deferred, c.why = false, ""
	}
	switch c.phase {
	case waiting:
		if now >= c.next && now >= c.due() {
			c.sound()
		}
	case sounding:
		c.evaluate()
	}
	return c.out
}

// may reports whether this region would take over: it may be primary and follows another one, or is primary and cannot
// be supported by all any more, or is sealed for one that does not say what became of that.
func (c *Candidate) may() bool {
	s := c.view.State
	charter := s.Charter()
	if c.view.Term == 0 || charter == nil || s.Cursor.Epoch == 0 || c.view.Lost != "" {
		return false
	}
	v := charter.Voter(c.id)
	switch s.Role() {
	case timeline.Primary:
		if s.Seal != nil {
			return v != nil && c.view.Unheard > 0
		}
		// Its own vote may be for another one as well, which never began.
		return v != nil && max(c.view.Beaten, s.Ballot.Promised) > s.Cursor.Epoch
	case timeline.Secondary:
		return v != nil && c.moves() == nil
	default:
		return false
	}
}

// moves returns why the region may not take over of its own accord, nil if it may.
func (c *Candidate) moves() *timeline.Objection {
	if c.view.Late {
		return &timeline.Objection{Text: "the region is kept delayed: it becomes primary by order alone"}
	}
	return timeline.Moves(c.view.State.Charter(), c.id)
}

// stays says why a primary does not take over from a later epoch that took writes, "" if it does. That is a move.
func (c *Candidate) stays() string {
	charter := c.view.State.Charter()
	if o := c.moves(); o != nil {
		return o.Text
	}
	if c.view.State.Seal != nil && c.now < c.due()+charter.Patience {
		return "its primary may come back yet"
	}
	return ""
}

// barred says why a region that hears of no primary does not take over for it, "" if it does hear of one; or why a
// primary does not go on.
func (c *Candidate) barred() string {
	if c.view.Term != 0 && c.view.Lost != "" {
		return c.view.Lost
	}
	s := c.view.State
	charter := s.Charter()
	if c.view.Term == 0 || charter == nil || charter.Voter(c.id) == nil || s.Role() != timeline.Secondary ||
		c.hears() || c.moves() == nil {
		return ""
	}
	return c.moves().Text
}

// hears reports whether this region follows a primary that its own voter has not missed for longer than its patience.
func (c *Candidate) hears() bool {
	s := c.view.State
	return s.Role() == timeline.Secondary && c.now < c.view.Quiet+s.Charter().Patience
}

// learn takes note that the charter is known to rule the latest reign, while its own voter still remembers that.
func (c *Candidate) learn() {
	if s := c.view.State; s.Charter() != nil && Rules(s, c.view.Supports, nil) {
		c.ruled = s.HighestClaim()
	}
}

// due returns when it is this region's turn. One that is sealed waits a lease for the other's word, and no longer: to
// go on moves the primary nowhere, unless the other has begun.
func (c *Candidate) due() Instant {
	s := c.view.State
	if s.Role() == timeline.Primary && s.Seal == nil {
		return 0
	}
	if c.view.Quiet != c.quiet {
		c.quiet, c.turn = c.view.Quiet, c.random(jitter)
	}
	from := c.quiet + s.Charter().Patience
	if s.Seal != nil {
		from = max(c.quiet, c.now-c.view.Unheard+s.Charter().Lease)
	}
	return from + time.Duration(c.view.Rank)*rankStep + c.turn
}

func (c *Candidate) random(below time.Duration) time.Duration {
	return time.Duration(c.view.Dice % uint64(below))
}

// Of returns what the region says of itself when it asks for votes in epoch. One that goes on from its own reign has
// all that was acknowledged there, as far as the ceilings went that its own voter knows, whatever the budget is now: so
// far voters are not to look at what would be lost, and it looks by itself at what they know of later epochs, before it
// begins (Within). Where others know of ceilings beyond, its disks may have gone back, and they refuse.
func Of(s *timeline.State, epoch timeline.Epoch) *timeline.Candidacy {
	c := &timeline.Candidacy{Epoch: epoch, For: s.Region, Cursor: s.Cursor, Reigns: s.Reigns, Charter: *s.Charter()}
	if s.Role() == timeline.Primary {
		known := s.Ballot.Bound()
		c.Operator, c.Accept = true, known.LostAtMost(s.Reigns, s.Cursor.Position)
	}
	return c
}

// Within returns why a region must not begin by a mandate: more would be lost than may be; "" if it may.
func Within(m timeline.Mandate, may uint64) string {
	if m.Lost <= may {
		return ""
	}
	return fmt.Sprintf("%s acknowledged commands would be lost, %d may be", timeline.AtMost(m.Lost), may)
}

// sound asks everybody what the answer would be, so that nobody burns an epoch in vain.
func (c *Candidate) sound() {
	c.phase, c.since = sounding, c.now
	c.round++
	c.answers, c.silent = map[string]*Answer{}, map[string]string{}
	s := c.view.State
	c.asked = max(s.Ballot.Promised, s.HighestClaim().Epoch, c.view.Beaten, c.heard) + 1
	candidacy := Of(s, c.asked)
	for _, v := range s.Charter().Voters {
		c.out = append(c.out, Effect{Do: Sound, Call: c.round, Voter: v.ID, Candidacy: candidacy})
	}
}

func (c *Candidate) sounded(in Sounded) {
	if c.phase != sounding || in.Call != c.round {
		return
	}
	if in.Silence != "" {
		c.silent[in.Voter] = in.Silence
		return
	}
	c.answers[in.Voter] = &in.Answer
}

// evaluate asks for votes if a majority would give them, and waits else.
func (c *Candidate) evaluate() {
	s := c.view.State
	charter := s.Charter()
	yes := 0
	for id, a := range c.answers {
		c.heard = max(c.heard, a.Promised)
		if a.Granted && charter.Voter(id) != nil {
			yes++
		}
	}
	over := len(c.answers)+len(c.silent) == len(charter.Voters) || c.now-c.since >= charter.Lease/3
	switch {
	case yes >= charter.Majority() && c.ruled != s.HighestClaim() && !Rules(s, c.view.Supports, c.answers):
		if over {
			c.why = Unruled(s)
			c.rest(soundAgain)
		}
	case yes >= charter.Majority() && Within(c.mandate(), charter.MaxLoss) != "":
		c.why = Within(c.mandate(), charter.MaxLoss)
		c.rest(soundAgain)
	case yes >= charter.Majority() && Used(s, c.answers) && c.stays() != "":
		c.why = fmt.Sprintf("a later epoch took writes that %s has not, and %s", c.id, c.stays())
		c.rest(soundAgain)
	case yes >= charter.Majority() && c.flapping() != "":
		c.why = c.flapping()
		c.rest(soundAgain)
	case yes >= charter.Majority() && !c.deferred && c.further():
		c.deferred, c.why = true, "a region that is further has the precedence"
		c.rest(deferFor)
	case yes >= charter.Majority():
		c.phase, c.since = standing, c.now
		c.out = append(c.out, Effect{Do: Stand, Epoch: c.asked})
	case over:
		c.why = c.reasons()
		c.rest(soundAgain)
		// A round that begins just before would not be over yet: somebody may be silent.
		if at, ok := c.free(); ok && c.next > at-charter.Lease/3 {
			c.next = max(at, c.now) + c.random(jitter)
		}
	}
}

// mandate is what those know who would vote for the region.
func (c *Candidate) mandate() (m timeline.Mandate) {
	candidacy := Of(c.view.State, c.asked)
	for _, a := range c.answers {
		if a.Granted {
			m = m.Counted(candidacy, &a.Known)
		}
	}
	m.Lost = max(m.Lost, candidacy.Under())
	return m
}

// free returns from when on a majority may vote, as far as that was said. A voter counted from when it was asked, and
// it will be asked again as much later as this one asks.
func (c *Candidate) free() (at Instant, ok bool) {
	var list []Instant
	for _, a := range c.answers {
		if a.Granted || a.Left > 0 {
			list = append(list, c.since+a.Left)
		}
	}
	m := c.view.State.Charter().Majority()
	if len(list) < m {
		return 0, false
	}
	slices.Sort(list)
	return list[m-1], true
}

// further reports whether a region that may take over of its own accord answered and holds more.
func (c *Candidate) further() bool {
	s := c.view.State
	for id, a := range c.answers {
		v := s.Charter().Voter(id)
		if v == nil || v.Priority == 0 || id == c.id || a.Late {
			continue
		}
		relation, _ := timeline.Compare(s.Reigns, a.Reigns, s.Cursor.Position, a.Cursor.Position)
		if relation == timeline.Prefix && a.Cursor.Position > s.Cursor.Position {
			return true
		}
	}
	return false
}

func (c *Candidate) rest(least time.Duration) {
	c.phase, c.next = waiting, c.now+least+c.random(least)
}

// reasons says why there is no majority, by voter.
func (c *Candidate) reasons() string {
	var list []string
	for _, v := range c.view.State.Charter().Voters {
		switch a := c.answers[v.ID]; {
		case a == nil && c.silent[v.ID] != "":
			list = append(list, fmt.Sprintf("%s does not answer: %s", v.ID, c.silent[v.ID]))
		case a == nil:
			list = append(list, v.ID+" does not answer")
		case a.Why != nil:
			text := a.Why.Text
			if a.Late && a.Why.Reason == timeline.ReasonHistory {
				text += fmt.Sprintf(" (%s is kept delayed and becomes primary by order alone, with all that it holds: "+
					"mimir failover --to %s --force)", v.ID, v.ID)
			}
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

func (c *Candidate) stood(in Stood) {
	if c.phase != standing {
		return
	}
	c.why, c.deferred = in.Why, false
	c.rest(standAgain)
}

// Due returns when the next step has to be taken, if nothing happens before; ok is false if there is no such time.
func (c *Candidate) Due() (at Instant, ok bool) {
	switch {
	case c.phase == sounding:
		return c.since + c.view.State.Charter().Lease/3, true
	case c.phase == waiting && c.view.State != nil && c.may():
		return max(c.next, c.due()), true
	default:
		return 0, false
	}
}

// Why says what keeps this region from taking over, "" if it does not try to.
func (c *Candidate) Why() string { return c.why }
