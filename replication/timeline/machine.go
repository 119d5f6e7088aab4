package timeline

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Outcome is what became of an entry. It is the same on every node of a region.
type Outcome int

// Outcomes.
const (
	Applied Outcome = iota
	Skipped         // it was applied before
	Refused         // the rules forbid it; Why tells which
)

func (o Outcome) String() string { return [...]string{"applied", "skipped", "refused"}[o] }

// ErrChain says that an entry continues the position but not the chain: this node's state differs from what its log's
// author had, and no reign that was refused here is the reason. Nothing may be applied after it (invariant 13).
var ErrChain = errors.New("timeline: chain does not continue")

// Machine applies entries to a State, which nothing else can change. It is not safe for concurrent use.
type Machine struct {
	state  *State
	folder *Folder
	// What readers were given, nil where it has to be made anew: a change of the cursor alone leaves both good.
	shown  *State
	record []byte
}

// NewMachine returns a machine that begins with a copy of s.
func NewMachine(s *State) *Machine { return &Machine{state: s.Clone(), folder: NewFolder()} }

// State returns the state as it is now. It shares nothing with the machine; what was returned at different times may
// share what did not change between them, so it is for reading only.
func (m *Machine) State() State {
	if m.shown == nil {
		m.shown = m.state.Clone()
	}
	s := *m.shown
	s.Cursor = m.state.Cursor
	return s
}

// Cursor returns the place of the state in the history.
func (m *Machine) Cursor() Cursor { return m.state.Cursor }

// Record returns what [State.EncodeRecord] makes of the state. The bytes must not be changed.
func (m *Machine) Record() ([]byte, error) {
	if m.record == nil {
		r, err := m.state.EncodeRecord()
		if err != nil {
			return nil, err
		}
		m.record = r
	}
	return m.record, nil
}

// changed says that more than the cursor is new.
func (m *Machine) changed() { m.shown, m.record = nil, nil }

// refusal is a reason, in the words an operator reads.
func refusal(format string, args ...any) (Outcome, string, error) {
	return Refused, fmt.Sprintf(format, args...), nil
}

// Frame applies f (invariants 4, 5 and 6): its epoch is the current one, it continues position and chain, and a region
// that began the epoch itself is still entitled to write.
func (m *Machine) Frame(f *Frame) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Diverged != nil:
		return refusal("region is diverged at %d", s.Diverged.Fork)
	case f.Epoch != s.Cursor.Epoch:
		if f.Epoch < s.Cursor.Epoch && f.Last() <= s.Cursor.Position {
			return Skipped, "", nil
		}
		return refusal("epoch %d, region is at %d", f.Epoch, s.Cursor.Epoch)
	case f.Last() <= s.Cursor.Position:
		return Skipped, "", nil
	case f.First != s.Cursor.Position+1:
		return refusal("first position %d, region is at %d", f.First, s.Cursor.Position)
	case s.ownsEpoch() && s.Role() != Primary:
		return refusal("region yielded to epoch %d of %s", s.Yielded.Epoch, s.Yielded.Primary)
	case s.Seal != nil:
		return refusal("sealed at %d for %s", s.Seal.Position, s.Seal.To)
	case s.ownsEpoch() && s.elsewhere():
		return refusal("region voted for %s in epoch %d", s.Ballot.For, s.Ballot.Promised)
	case s.passedOver(f.Previous):
		return refusal("position %d follows an epoch that was refused here", f.First)
	case f.Previous != s.Cursor.Chain:
		return Refused, "", fmt.Errorf("%w: frame at position %d of epoch %d follows chain %v, this node has %v",
			ErrChain, f.First, f.Epoch, f.Previous, s.Cursor.Chain)
	}
	s.Cursor.Chain = m.folder.Frame(f)
	s.Cursor.Position = f.Last()
	if f.Level > s.Commands {
		s.Commands = f.Level
		m.changed()
	}
	if s.PassedOver != nil {
		s.PassedOver = nil
		m.changed()
	}
	return Applied, "", nil
}

// Reign applies the beginning of an epoch.
func (m *Machine) Reign(r Reign) (Outcome, string, error) {
	outcome, why, err := m.reign(r)
	if err == nil && outcome == Refused {
		m.passOver(r)
	}
	return outcome, why, err
}

func (m *Machine) reign(r Reign) (Outcome, string, error) {
	s := m.state
	declined := s.declines(r)
	switch {
	case s.Diverged != nil:
		return refusal("region is diverged at %d", s.Diverged.Fork)
	case slices.Contains(s.Reigns, r):
		return Skipped, "", nil
	case r.Epoch <= s.Cursor.Epoch:
		return refusal("epoch %d of %s, region is at %d", r.Epoch, r.Primary, s.Cursor.Epoch)
	case r.First != s.Cursor.Position+1:
		return refusal("epoch %d begins at %d, region is at %d", r.Epoch, r.First, s.Cursor.Position)
	case declined != "":
		return refusal("%s", declined)
	case s.passedOver(r.Previous):
		return refusal("epoch %d begins at %d after one that was refused here", r.Epoch, r.First)
	case r.Previous != s.Cursor.Chain && s.begunBefore(r.First, r.Previous):
		return refusal("epoch %d begins at %d where epoch %d has begun since it was proposed", r.Epoch, r.First,
			s.Cursor.Epoch)
	case r.Previous != s.Cursor.Chain:
		return Refused, "", fmt.Errorf("%w: epoch %d begins at %d after chain %v, this node has %v", ErrChain, r.Epoch,
			r.First, r.Previous, s.Cursor.Chain)
	}
	s.Reigns = append(s.Reigns, r)
	s.Cursor.Epoch = r.Epoch
	s.Cursor.Chain = m.folder.Reign(s.Cursor.Chain, r)
	s.Seal = nil
	if r.Primary == s.Region {
		s.Slots, s.Delay = nil, nil
	}
	s.begun()
	m.changed()
	return Applied, "", nil
}

// Control applies c.
func (m *Machine) Control(c *Control) (Outcome, string, error) {
	outcome, why, err := m.control(c)
	if outcome == Applied {
		m.changed()
	}
	return outcome, why, err
}

func (m *Machine) control(c *Control) (Outcome, string, error) {
	switch c.Op {
	case OpSeal:
		return m.seal(c)
	case OpUnseal:
		return m.unseal(c)
	case OpRefuse:
		return m.refuse(c)
	case OpYield:
		return m.yield(c)
	case OpDiverge:
		return m.diverge(c)
	case OpKeep:
		return m.keep(c)
	case OpInstall:
		return m.install(c)
	case OpSlots:
		return m.slots(c)
	case OpMember:
		return m.member(c)
	case OpEnrol:
		return m.enrol(c)
	case OpCharter:
		return m.charter(c)
	case OpVote:
		return m.vote(c)
	case OpCeiling:
		return m.ceiling(c)
	case OpCount:
		return m.count(c)
	case OpDelay:
		return m.delay(c)
	case OpUndelay:
		return m.undelay()
	case OpCut:
		return m.cut(c)
	case OpRoster:
		return m.roster(c)
	default:
		return Refused, "", fmt.Errorf("%w: control %q", ErrVersion, c.Op)
	}
}

func (m *Machine) seal(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Role() != Primary:
		return refusal("region is not primary")
	case c.Epoch != s.Cursor.Epoch:
		return refusal("seal of epoch %d, region is at %d", c.Epoch, s.Cursor.Epoch)
	case s.Seal != nil:
		return refusal("sealed already, for %s", s.Seal.To)
	case c.Handoff != s.Handoffs+1:
		return refusal("handoff %d, the next is %d", c.Handoff, s.Handoffs+1)
	case c.To == s.Region || c.To == "":
		return refusal("handoff to %q", c.To)
	case s.ranks() && s.Roster.Home(c.To) == nil:
		return refusal("region %s is not one of the fleet, by roster %d of epoch %d", c.To, s.Roster.Number,
			s.Roster.Epoch)
	case s.ranks() && s.Roster.Epoch < s.Cursor.Epoch:
		return refusal("roster %d of epoch %d was not written in epoch %d yet", s.Roster.Number, s.Roster.Epoch,
			s.Cursor.Epoch)
	case s.Charter() != nil && s.Ballot.Promised > s.Cursor.Epoch:
		return refusal("the region's vote is for %s in epoch %d", s.Ballot.For, s.Ballot.Promised)
	}
	s.Handoffs = c.Handoff
	s.Seal = &Seal{Epoch: c.Epoch, To: c.To, Handoff: c.Handoff, Position: s.Cursor.Position}
	s.promiseSeal()
	return Applied, "", nil
}

func (m *Machine) unseal(c *Control) (Outcome, string, error) {
	s := m.state
	if s.Seal == nil || s.Seal.Epoch != c.Epoch || s.Seal.Handoff != c.Handoff {
		return refusal("not sealed for handoff %d of epoch %d", c.Handoff, c.Epoch)
	}
	s.withdraw(s.Seal)
	s.Seal = nil
	return Applied, "", nil
}

func (m *Machine) refuse(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Cursor.Epoch > c.Epoch:
		return refusal("epoch %d has begun", s.Cursor.Epoch)
	case s.Refused.covers(c.Epoch, c.Handoff):
		return Skipped, "", nil
	}
	s.Refused = Refusal{Epoch: c.Epoch, Handoff: c.Handoff}
	return Applied, "", nil
}

func (m *Machine) yield(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case c.Claim == nil || c.Claim.Primary == s.Region:
		return refusal("no claim of another region")
	case !outranks(*c.Claim, s.HighestClaim()):
		return Skipped, "", nil
	}
	s.Yielded = *c.Claim
	s.Seal = nil
	return Applied, "", nil
}

func (m *Machine) diverge(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Diverged != nil:
		return Skipped, "", nil
	case c.Claim == nil:
		return refusal("no claim")
	case c.At != s.Cursor.Position || c.Epoch != s.Cursor.Epoch:
		return refusal("proposed at %d of epoch %d, region is at %d of %d", c.At, c.Epoch, s.Cursor.Position,
			s.Cursor.Epoch)
	case c.Fork > s.Cursor.Position:
		return refusal("fork at %d, region is at %d", c.Fork, s.Cursor.Position)
	}
	s.Diverged = &Divergence{Fork: c.Fork, At: s.Cursor.Position, Claim: *c.Claim}
	if outranks(*c.Claim, s.Yielded) {
		s.Yielded = *c.Claim
	}
	s.Seal = nil
	return Applied, "", nil
}

// keep takes a divergence back. The claim to which the region gave way stays the one that it yielded to: it takes no
// writes, and follows, until it begins an epoch above it.
func (m *Machine) keep(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Diverged == nil:
		return refusal("region has not diverged")
	case c.At != s.Cursor.Position || c.Epoch != s.Cursor.Epoch:
		return refusal("proposed at %d of epoch %d, region is at %d of %d", c.At, c.Epoch, s.Cursor.Position,
			s.Cursor.Epoch)
	case !outranks(s.Yielded, Latest(s.Reigns)):
		return refusal("region gave way to epoch %d of %s, which would make it primary again", s.Diverged.Claim.Epoch,
			s.Diverged.Claim.Primary)
	}
	s.Diverged = nil
	return Applied, "", nil
}

func (m *Machine) install(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case c.Origin == nil || c.Checkpoint == "":
		return refusal("no checkpoint")
	case s.Role() == Primary:
		return refusal("region is primary")
	case outranks(s.HighestClaim(), Latest(c.Origin.Reigns)) && !s.goesBack(c):
		return refusal("checkpoint of epoch %d, region gave way to epoch %d", c.Origin.Cursor.Epoch,
			s.HighestClaim().Epoch)
	case s.Diverged == nil && c.Origin.Cursor.Position <= s.Cursor.Position:
		return refusal("checkpoint at %d, region is at %d", c.Origin.Cursor.Position, s.Cursor.Position)
	}
	next := *s
	next.Cursor, next.Reigns = c.Origin.Cursor, slices.Clone(c.Origin.Reigns)
	next.Commands = max(s.Commands, c.Origin.Commands)
	if s.Diverged != nil {
		next.givesUp(s.Diverged.Fork)
	}
	next.Seal, next.Diverged, next.Slots, next.PassedOver = nil, nil, nil, nil
	if s.Delay != nil {
		next.Delay = &Delay{Shown: c.Origin.Cursor.Position} // the storage has that then
	}
	next.begun()
	if err := next.valid(); err != nil {
		return refusal("checkpoint contradicts itself: %v", err)
	}
	*s = next
	return Applied, "", nil
}

// goesBack reports whether an install is of what a region that has diverged had at the fork: it has the claim yet that
// it gave way to, and takes of the history that leads there what it lacks.
func (s *State) goesBack(c *Control) bool {
	return c.Back && s.Diverged != nil && c.Origin.Cursor.Position == s.Diverged.Fork
}

// slots replaces what is known of the secondaries; an acknowledgement never falls within a reign.
func (m *Machine) slots(c *Control) (Outcome, string, error) {
	s := m.state
	for _, n := range c.Slots {
		if s.Roster != nil && s.Roster.Home(n.Region) == nil {
			continue // it was removed since
		}
		i := slices.IndexFunc(s.Slots, func(o Slot) bool { return o.Region == n.Region })
		if i < 0 {
			s.Slots = append(s.Slots, n)
			continue
		}
		n.Position = max(n.Position, s.Slots[i].Position)
		s.Slots[i] = n
	}
	sort.Slice(s.Slots, func(i, j int) bool { return strings.Compare(s.Slots[i].Region, s.Slots[j].Region) < 0 })
	return Applied, "", nil
}

func (m *Machine) member(c *Control) (Outcome, string, error) {
	if c.Member == nil || c.Member.ID == 0 {
		return refusal("no member")
	}
	m.state.setMember(*c.Member)
	return Applied, "", nil
}
