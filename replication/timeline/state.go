package timeline

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Role is what a region is in its fleet.
type Role string

// Roles of a region.
const (
	Primary   Role = "primary"
	Secondary Role = "secondary"
	Diverged  Role = "diverged" // it holds a tail that the fleet's history does not have
)

// Refusal is a region's durable promise never to begin an epoch by this handoff or an earlier one of the epoch.
type Refusal struct {
	Epoch   Epoch  // the epoch that was to be handed over
	Handoff uint64 // zero: nothing was refused
}

// Divergence is a fork that a region has to mend before it can follow again.
type Divergence struct {
	Fork  Position // last shared position
	At    Position // last position of this region: the tail is (Fork, At]
	Claim Reign    // the reign of the fleet's history that outranks this region's
}

// Base is the entry of the region's log that installed a state of another region: what stands before it is not this
// history's any more, and must not be streamed (invariant 9).
type Base struct {
	Index    uint64   // of the entry; zero: there is none
	Position Position // of the state that it installed
}

// State is what a region knows of the history and of its own place in it. It is the same on every node of the region at
// equal applied index.
//
// Invariants, checked by valid:
//
//	S1  Reigns rise strictly in epoch and never fall in First; Cursor.Epoch is the last one's.
//	S2  Cursor.Position is at least the last reign's First-1.
//	S3  a Seal belongs to the current epoch, whose primary this region is, and its Position is the Cursor's.
//	S4  a diverged region is not sealed.
//	S5  Members rise strictly in ID.
//	S6  nobody is among Members and Removed.
//	S7  a Ballot promises no less than the last reign's epoch.
//	S8  with a charter, the region begins an epoch only if its vote is for itself in it, by that handoff.
//	S9  with a charter, a vote for another region in a later epoch ends the right to write.
//	S10 what a delayed region shows is not behind its Cursor.
//	S11 with a roster, there are slots only of regions that it has.
type State struct {
	Region   string
	Cursor   Cursor `json:"-"` // kept in the storage's metadata, beside the record
	Reigns   []Reign
	Seal     *Seal       `json:",omitempty"`
	Handoffs uint64      `json:",omitempty"` // number of the last handoff that this region began
	Refused  Refusal     `json:",omitzero"`
	Yielded  Reign       `json:",omitzero"` // the highest claim to which this region gave way
	Diverged *Divergence `json:",omitempty"`
	Base     Base        `json:",omitzero"`
	GivenUp  *GivenUp    `json:",omitempty"` // the last time; nodes that do not keep it apply the same
	Earlier  []GivenUp   `json:",omitempty"` // those before that gave up more, by Index and Fork; likewise
	Members  []Member    `json:",omitempty"` // by ID
	Slots    []Slot      `json:",omitempty"` // by region
	Conf     []byte      `json:",omitempty"` // the Raft configuration, opaque here
	// Ballot is the region's vote; nil: no votes are taken here, and who is primary is an operator's business.
	Ballot *Ballot `json:",omitempty"`
	// Commands is the earliest level of nodes that understand all commands applied: what they left is in the contents.
	Commands Level `json:",omitempty"`
	// Delay says that the region shows its history late; nil: it shows what it has. Of nodes of LevelDelay.
	Delay *Delay `json:",omitempty"`
	// Roster says which regions the fleet has; nil: those of the configuration. Of nodes of LevelRoster.
	Roster *Roster `json:",omitempty"`
	// Removed are the Raft identities that left the region, the last one last, at most MaxRemoved. What becomes of an
	// entry never depends on it: versions that do not keep it apply the same.
	Removed []uint64 `json:",omitempty"`
	// PassedOver are the chains behind reigns that continue the history at the Cursor and were refused, the last one
	// last, at most maxPassedOver. What follows one of them is refused; a node that does not keep it stops there.
	PassedOver []Chain `json:",omitempty"`
}

// Role derives the region's role.
func (s *State) Role() Role {
	switch {
	case s.Diverged != nil:
		return Diverged
	case s.ownsEpoch() && !outranks(s.Yielded, Latest(s.Reigns)):
		return Primary
	default:
		return Secondary
	}
}

// Writable reports whether the region takes new commands: it is primary, not sealed, and has not voted for another.
func (s *State) Writable() bool { return s.Role() == Primary && s.Seal == nil && !s.elsewhere() }

// ownsEpoch reports whether this region began the current epoch.
func (s *State) ownsEpoch() bool { return Latest(s.Reigns).Primary == s.Region && s.Region != "" }

// HighestClaim returns the highest claim this region knows of: its own history's or the one it yielded to.
func (s *State) HighestClaim() Reign {
	if l := Latest(s.Reigns); !outranks(s.Yielded, l) {
		return l
	}
	return s.Yielded
}

// Clone returns a copy that shares nothing that changes.
func (s *State) Clone() *State {
	c := *s
	c.Reigns, c.Members, c.Slots = slices.Clone(s.Reigns), slices.Clone(s.Members), slices.Clone(s.Slots)
	c.Conf, c.Removed = slices.Clone(s.Conf), slices.Clone(s.Removed)
	c.PassedOver, c.Earlier = slices.Clone(s.PassedOver), slices.Clone(s.Earlier)
	for i := range c.Members {
		c.Members[i].ClientURLs = slices.Clone(c.Members[i].ClientURLs)
	}
	if s.Seal != nil {
		seal := *s.Seal
		c.Seal = &seal
	}
	if s.Diverged != nil {
		d := *s.Diverged
		c.Diverged = &d
	}
	if s.Delay != nil {
		d := *s.Delay
		c.Delay = &d
	}
	if s.GivenUp != nil {
		g := *s.GivenUp
		c.GivenUp = &g
	}
	return &c
}

func (s *State) valid() error {
	for i, r := range s.Reigns {
		if i > 0 && (r.Epoch <= s.Reigns[i-1].Epoch || r.First < s.Reigns[i-1].First) {
			return fmt.Errorf("timeline: reigns out of order: epoch %d at %d after epoch %d at %d", r.Epoch, r.First,
				s.Reigns[i-1].Epoch, s.Reigns[i-1].First)
		}
	}
	last := Latest(s.Reigns)
	switch {
	case s.Cursor.Epoch != last.Epoch:
		return fmt.Errorf("timeline: cursor at epoch %d, last reign is %d", s.Cursor.Epoch, last.Epoch)
	case last.Epoch != 0 && s.Cursor.Position+1 < last.First:
		return fmt.Errorf("timeline: position %d before the reign that begins at %d", s.Cursor.Position, last.First)
	case s.Seal != nil && (s.Seal.Epoch != s.Cursor.Epoch || !s.ownsEpoch() || s.Seal.Position != s.Cursor.Position):
		return fmt.Errorf("timeline: seal of epoch %d at %d, cursor at epoch %d, position %d", s.Seal.Epoch,
			s.Seal.Position, s.Cursor.Epoch, s.Cursor.Position)
	case s.Seal != nil && s.Diverged != nil:
		return fmt.Errorf("timeline: sealed and diverged at once")
	case s.Delay != nil && s.Delay.Shown > s.Cursor.Position:
		return fmt.Errorf("timeline: shows up to %d, cursor at %d", s.Delay.Shown, s.Cursor.Position)
	case s.Ballot != nil && s.Ballot.Promised < last.Epoch:
		return fmt.Errorf("timeline: ballot of epoch %d, last reign is %d", s.Ballot.Promised, last.Epoch)
	}
	if r := s.Roster; r != nil && r.Fault() != "" {
		return fmt.Errorf("timeline: roster: %s", r.Fault())
	}
	for _, o := range s.Slots {
		if s.Roster != nil && s.Roster.Home(o.Region) == nil {
			return fmt.Errorf("timeline: slot of %s, which the roster has not", o.Region)
		}
	}
	for i := 1; i < len(s.Members); i++ {
		if s.Members[i].ID <= s.Members[i-1].ID {
			return fmt.Errorf("timeline: member %d stands behind %d", s.Members[i].ID, s.Members[i-1].ID)
		}
	}
	return nil
}

// EncodeRecord returns everything but the cursor, for the storage's metadata.
func (s *State) EncodeRecord() ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode region state: %w", err)
	}
	return append([]byte{s.recordVersion()}, body...), nil
}

// recordVersion keeps nodes that know of no places, or no ballots, from a state which they would read without them.
func (s *State) recordVersion() byte {
	switch s.Level() {
	case LevelBasis:
		return basisVersion
	case LevelSources:
		return sourceVersion
	case LevelEnds:
		return endsVersion
	case LevelRanks:
		return ranksVersion
	case LevelRoster:
		return rosterVersion
	case LevelFollow:
		return followVersion
	case LevelCount:
		return countVersion
	case LevelHold:
		return holdVersion
	case LevelDelay:
		return delayVersion
	case LevelUsers:
		return usersVersion
	case LevelPolicy:
		return policyVersion
	case LevelBallots:
		return ballotVersion
	case LevelPlaces:
		return placesVersion
	default:
		return FormatVersion
	}
}

// Level returns the earliest level of nodes that understand the state.
func (s *State) Level() Level {
	level := s.Commands
	if s.Roster != nil {
		level = max(level, s.Roster.Level())
	}
	if s.Delay != nil {
		level = max(level, LevelDelay)
	}
	if s.Ballot != nil {
		return max(level, s.Ballot.Charter.Level())
	}
	level = max(level, s.Yielded.Level())
	for _, r := range s.Reigns {
		level = max(level, r.Level())
	}
	if s.Diverged != nil {
		level = max(level, s.Diverged.Claim.Level())
	}
	return level
}

// DecodeRecord is the inverse of EncodeRecord; the cursor comes from beside it.
func DecodeRecord(p []byte, c Cursor) (*State, error) {
	if len(p) > 0 && p[0] > basisVersion {
		return nil, fmt.Errorf("%w: region state of version %d", ErrVersion, p[0])
	}
	if len(p) == 0 || p[0] == 0 {
		return nil, fmt.Errorf("%w: region state of %d bytes", ErrFormat, len(p))
	}
	s := new(State)
	if err := json.Unmarshal(p[1:], s); err != nil {
		return nil, fmt.Errorf("%w: region state: %w", ErrFormat, err)
	}
	s.Cursor = c
	if err := s.valid(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return s, nil
}
