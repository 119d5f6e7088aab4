package timeline

import (
	"fmt"
	"slices"
	"time"
)

// Candidacy is what a region says of itself when it asks for votes. It travels as JSON and stands in logs: never
// change a name.
type Candidacy struct {
	Epoch   Epoch   `json:"epoch"`
	For     string  `json:"for"`
	Handoff uint64  `json:"handoff,omitempty"` // of the primary before, which is sealed for it
	Cursor  Cursor  `json:"cursor"`            // up to where it has the history
	Reigns  []Reign `json:"reigns"`
	Charter Charter `json:"charter"`
	// Operator says that somebody ordered it, who accepts that up to Accept acknowledged commands are lost; NoBound:
	// any. Who goes on from his own reign says so too, and looks at what is lost by himself.
	Operator bool   `json:"operator,omitempty"`
	Accept   uint64 `json:"accept,omitempty"`
	// At is when the region asked, by its wall clock, if that moves the primary by itself; else zero.
	At time.Time `json:"at,omitzero"`
}

// Reason is why a vote or a promise is refused. It travels: never change one.
type Reason string

// Reasons. The first ones are decided in the log (V1, V3 to V7), the others by what only the voter's process knows.
const (
	ReasonEpoch    Reason = "epoch"    // V1: voted for another one, or in a later epoch
	ReasonCharter  Reason = "charter"  // V3: the voter has a newer charter, or another identity, or is none
	ReasonEligible Reason = "eligible" // V4: may not be primary
	ReasonPaused   Reason = "paused"   // V5: nothing moves by itself
	ReasonHistory  Reason = "history"  // V6: the voter holds more
	ReasonLoss     Reason = "loss"     // V7: more than the budget may be lost
	ReasonPromise  Reason = "promise"  // V2: another region is supported
	ReasonGuard    Reason = "guard"    // V2: a new leader of the voter may not know whom it supports
	ReasonBusy     Reason = "busy"     // a vote is on its way
	ReasonDeaf     Reason = "deaf"     // the primary holds no lease, and another region could take over
	ReasonTerm     Reason = "term"     // another node leads the primary by now
)

// Objection is a Reason in words.
type Objection struct {
	Reason Reason `json:"reason"`
	Text   string `json:"text"`
}

func objection(r Reason, format string, args ...any) *Objection {
	return &Objection{r, fmt.Sprintf(format, args...)}
}

// Voted reports whether the ballot holds this very vote.
func (b *Ballot) Voted(c *Candidacy) bool {
	return b.Promised == c.Epoch && b.For == c.For && b.Handoff == c.Handoff
}

// Against returns why a voter in the state s does not vote for c, as far as that is decided in its log; nil if nothing
// speaks against it. A vote that was given is given again.
func Against(s *State, c *Candidacy) *Objection {
	b := s.Ballot
	switch {
	case b == nil:
		return objection(ReasonCharter, "%s has no ballot", s.Region)
	case s.Charter() != nil && b.Voted(c):
		return nil
	case c.Epoch <= b.Promised:
		return objection(ReasonEpoch, "%s voted for %s in epoch %d, and this is about epoch %d", s.Region, b.For,
			b.Promised, c.Epoch)
	}
	for _, rule := range []func(*State, *Candidacy) *Objection{byCharter, byPolicy, byHistory, byLoss} {
		if o := rule(s, c); o != nil {
			return o
		}
	}
	return nil
}

// byCharter is V3: with a charter older than the voter's, a candidate may not know who votes.
func byCharter(s *State, c *Candidacy) *Objection {
	own, theirs := s.Ballot.Charter.Mark(), c.Charter.Mark()
	switch v := c.Charter.Voter(s.Region); {
	case theirs.Before(own):
		return objection(ReasonCharter, "%s has charter %d of epoch %d, %s has %d of %d", s.Region, own.Number,
			own.Epoch, c.For, theirs.Number, theirs.Epoch)
	case v == nil:
		return objection(ReasonCharter, "%s is no voter", s.Region)
	case v.Identity != s.Ballot.Identity:
		return objection(ReasonCharter, "%s lost its ballot: it has forgotten its votes", s.Region)
	}
	return nil
}

// byPolicy is V4 and V5, by the candidate's charter, which is not older. A handoff is nothing that moves by itself.
func byPolicy(s *State, c *Candidacy) *Objection {
	switch v := c.Charter.Voter(c.For); {
	case v == nil || v.Witness():
		return objection(ReasonEligible, "%s is no region of the charter", c.For)
	case c.Operator, c.Handoff != 0, c.For == Latest(c.Reigns).Primary:
		return nil
	}
	return Moves(&c.Charter, c.For)
}

// Moves returns why a region may not become primary of its own accord, nil if it may (V4, V5).
func Moves(c *Charter, region string) *Objection {
	switch v := c.Voter(region); {
	case v == nil || v.Priority == 0:
		return objection(ReasonEligible, "%s has priority 0", region)
	case !c.Automatic:
		return objection(ReasonPaused, "automatic failover is off")
	case c.Paused != "":
		return objection(ReasonPaused, "automatic failover is paused: %s", c.Paused)
	}
	return nil
}

// byHistory is V6: a region never votes for less than it holds. A reign in which it holds nothing is nothing to lose.
func byHistory(s *State, c *Candidacy) *Objection {
	own := s.Reigns
	for len(own) > 0 && Latest(own).First > s.Cursor.Position {
		own = own[:len(own)-1]
	}
	last := Latest(own)
	if last.Epoch == 0 || Latest(c.Reigns).Epoch > last.Epoch {
		return nil
	}
	if slices.Contains(c.Reigns, last) && c.Cursor.Position >= s.Cursor.Position {
		return nil
	}
	return objection(ReasonHistory, "%s holds epoch %d up to position %d, and %s epoch %d up to %d", s.Region,
		last.Epoch, s.Cursor.Position, c.For, Latest(c.Reigns).Epoch, c.Cursor.Position)
}

// byLoss is V7. After a handoff nothing is lost: the primary before is sealed, and the candidate has all of it.
func byLoss(s *State, c *Candidacy) *Objection {
	budget := c.Charter.MaxLoss
	if c.Operator {
		budget = max(budget, c.Accept)
	}
	known := s.Ballot.Bound()
	lost := known.Lost(c.Reigns, c.Cursor.Position)
	if c.Handoff != 0 || budget == NoBound || lost <= budget {
		return nil
	}
	return objection(ReasonLoss, "%s acknowledged commands of epoch %d would be lost, %d may be",
		AtMost(known.bound(lost)), known.Epoch(), budget)
}

// LostAtMost returns how many commands that may have been acknowledged a history lacks at most; NoBound: any number.
func (k *Known) LostAtMost(reigns []Reign, at Position) uint64 { return k.bound(k.Lost(reigns, at)) }

// bound returns how many commands are lost at most, of which lost lie under the ceiling; NoBound: any number.
func (k *Known) bound(lost uint64) uint64 {
	if k.Ceiling == Position(NoBound) && lost > 0 {
		return NoBound
	}
	return lost
}

// AtMost says for people how many there are at most.
func AtMost(n uint64) string {
	if n == NoBound {
		return "any number of"
	}
	return fmt.Sprintf("up to %d", n)
}

// Mandate is what those who voted for a region know of what its epoch leaves behind.
type Mandate struct {
	// Used says that a reign later than all that the region holds may have taken writes.
	Used bool
	// Lost is how many commands at most were acknowledged that the region does not have; NoBound: any number.
	Lost uint64
}

// Counted adds what a voter knows who voted for c.
func (m Mandate) Counted(c *Candidacy, k *Known) Mandate {
	if c.Handoff != 0 {
		return m // the primary before is sealed, and all of it is here
	}
	m.Used = m.Used || k.Epoch() > c.Cursor.Epoch
	if last := Latest(c.Reigns); last.Primary == c.For && last.Epoch == k.Epoch() {
		return m // it acknowledged them itself
	}
	m.Lost = max(m.Lost, k.LostAtMost(c.Reigns, c.Cursor.Position))
	return m
}

// enrol gives the voter a ballot, which waits for a charter.
func (m *Machine) enrol(c *Control) (Outcome, string, error) {
	s := m.state
	if s.Ballot != nil {
		return Skipped, "", nil
	}
	last := Latest(s.Reigns)
	s.Ballot = &Ballot{Identity: c.Identity, Promised: last.Epoch, For: last.Primary, Handoff: last.Handoff}
	return Applied, "", nil
}

// charter takes a charter that is newer, from a primary that is not known to be deposed.
func (m *Machine) charter(c *Control) (Outcome, string, error) {
	b := m.state.Ballot
	switch {
	case b == nil || c.Charter == nil:
		return refusal("no ballot, or no charter")
	case !b.Charter.Mark().Before(c.Charter.Mark()):
		return Skipped, "", nil
	case c.Charter.Epoch < b.Promised:
		return refusal("charter of epoch %d, and epoch %d of %s is known", c.Charter.Epoch, b.Promised, b.For)
	case c.Charter.Fault() != "":
		return refusal("%s", c.Charter.Fault())
	}
	if v := c.Charter.Voter(m.state.Region); v != nil && v.Identity != b.Identity {
		return refusal("the charter knows %s by another ballot, which is lost", m.state.Region)
	}
	next := *b
	next.keep(c.Charter)
	next.learn(c.Charter.Epoch, c.To, 0)
	m.state.Ballot = &next
	return Applied, "", nil
}

// learn takes note of a primary that was voted for elsewhere.
func (b *Ballot) learn(e Epoch, primary string, handoff uint64) {
	if e > b.Promised {
		b.Promised, b.For, b.Handoff = e, primary, handoff
	}
}

// vote casts the one vote of an epoch (V1, V3 to V7). A region that refused a handoff does not begin by it.
func (m *Machine) vote(c *Control) (Outcome, string, error) {
	s, v := m.state, c.Vote
	if v == nil {
		return refusal("no candidacy")
	}
	if o := Against(s, v); o != nil {
		return refusal("%s: %s", o.Reason, o.Text)
	}
	if v.For == s.Region && v.Handoff != 0 && s.Refused.covers(v.Epoch-1, v.Handoff) {
		return refusal("handoff %d of epoch %d was refused here", v.Handoff, v.Epoch-1)
	}
	if s.Charter() != nil && s.Ballot.Voted(v) {
		return Skipped, "", nil
	}
	next := *s.Ballot
	next.Promised, next.For, next.Handoff = v.Epoch, v.For, v.Handoff
	if next.Charter.Mark().Before(v.Charter.Mark()) {
		next.keep(&v.Charter)
	}
	next.moved(v)
	s.Ballot = &next
	return Applied, "", nil
}

// ceiling takes note of how far the primary of an epoch may acknowledge.
func (m *Machine) ceiling(c *Control) (Outcome, string, error) {
	b := m.state.Ballot
	switch {
	case m.state.Charter() == nil || c.Known == nil || c.Known.Epoch() != c.Epoch || c.Epoch == 0:
		return refusal("no charter, or no ceiling of epoch %d", c.Epoch)
	case c.Epoch < b.Promised || c.Epoch == b.Promised && c.To != b.For:
		return refusal("epoch %d of %s, and the vote is for %s in epoch %d", c.Epoch, c.To, b.For, b.Promised)
	case c.Epoch < b.Known.Epoch(), c.Epoch == b.Known.Epoch() && c.Known.Ceiling <= b.Known.Ceiling:
		return Skipped, "", nil
	}
	next := *b
	next.Known = *c.Known
	next.learn(c.Epoch, c.To, 0)
	m.state.Ballot = &next
	return Applied, "", nil
}

// votedFor reports whether this region may begin r: it voted for itself.
func (s *State) votedFor(r Reign) bool {
	return s.Charter() == nil || r.Primary != s.Region ||
		s.Ballot.Voted(&Candidacy{Epoch: r.Epoch, For: r.Primary, Handoff: r.Handoff})
}

// begun takes note of the primary of the last reign, which may have begun without this region's vote.
func (s *State) begun() {
	if last := Latest(s.Reigns); s.Ballot != nil && last.Epoch > s.Ballot.Promised {
		next := *s.Ballot
		next.learn(last.Epoch, last.Primary, last.Handoff)
		s.Ballot = &next
	}
}

// promiseSeal makes a seal the vote for the region to which the primary is handed over.
func (s *State) promiseSeal() {
	if s.Charter() != nil {
		next := *s.Ballot
		next.learn(s.Seal.Epoch+1, s.Seal.To, s.Seal.Handoff)
		s.Ballot = &next
	}
}

// withdraw takes that vote back. It was of use to one handoff only, which its target has refused for good.
func (s *State) withdraw(seal *Seal) {
	vote := Candidacy{Epoch: seal.Epoch + 1, For: seal.To, Handoff: seal.Handoff}
	if s.Charter() != nil && s.Ballot.Voted(&vote) {
		last, next := Latest(s.Reigns), *s.Ballot
		next.Promised, next.For, next.Handoff = last.Epoch, last.Primary, last.Handoff
		s.Ballot = &next
	}
}
