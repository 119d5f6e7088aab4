package contract

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// VoteStatus is who votes about the primary, and what their promises come to.
type VoteStatus struct {
	Charter   uint64        `json:"charter"` // its number, and the epoch of the primary that wrote it
	Epoch     Epoch         `json:"epoch"`
	Automatic bool          `json:"automatic"`
	Paused    string        `json:"paused,omitempty"` // why nothing moves by itself
	Lease     time.Duration `json:"leaseNanos"`
	// Former is the lease before, if that was longer and promises by it may be left.
	Former time.Duration `json:"formerLeaseNanos,omitempty"`
	// HeldUntil is until when the primary is held, by the wall clock of who ordered it; zero: it is not.
	HeldUntil time.Time `json:"heldUntil,omitzero"`
	// HeldLeft is how much may be left of that, as this node counts; zero: it is over at the latest, and if HeldUntil
	// is not zero, this node has not heard of its end.
	HeldLeft time.Duration `json:"heldLeftNanos,omitempty"`
	// HeldEnds says, at the leader of the primary, that its end was ordered, and waits for a majority of the voters.
	HeldEnds bool `json:"heldEnds,omitempty"`
	// MaxLoss is how many acknowledged commands a failover may lose; the greatest number: any.
	MaxLoss uint64 `json:"maxLoss"`
	// Spread is in how many regions a write has to be before it is acknowledged; zero: a node of an earlier version
	// said this, which does not tell.
	Spread int `json:"spread,omitempty"`
	// The primary moves by itself at most FlapMoves times within FlapWithin (zero: as often as it may be), of which
	// Moves count now, as far as this node knows; if it may not, it may again at KeptUntil.
	FlapMoves  uint32          `json:"flapMoves"`
	FlapWithin time.Duration   `json:"flapWithinNanos,omitempty"`
	Moves      []timeline.Move `json:"moves,omitempty"`
	KeptUntil  time.Time       `json:"keptUntil,omitzero"`
	// Failback is for how long a region of a higher priority has to keep up before it takes over, zero: it does not by
	// itself; Return says what comes of that, at the leader of the primary.
	Failback time.Duration `json:"failbackNanos,omitempty"`
	Return   string        `json:"return,omitempty"`
	// Priorities are those that regions get that do not vote, when they do again.
	Priorities map[string]uint8 `json:"priorities,omitempty"`
	// Promised and For are the vote of this node's region.
	Promised Epoch  `json:"promised"`
	For      string `json:"for"`
	// Holds says that the primary has a lease, for Left more, and may acknowledge up to Ceiling; Fenced that it has
	// none and acknowledges nothing. They are said by the leader of the primary.
	Holds     bool          `json:"holds"`
	Left      time.Duration `json:"leftNanos,omitempty"`
	Ceiling   Position      `json:"ceiling,omitempty"`
	Fenced    bool          `json:"fenced"`
	FencedFor time.Duration `json:"fencedNanos,omitempty"`
	// Why says what keeps the region from taking over, at the leader of one that tried.
	Why    string        `json:"why,omitempty"`
	Voters []VoterStatus `json:"voters"`
}

// VoterStatus is one voter: a region, or a witness.
type VoterStatus struct {
	ID       string `json:"id"`
	Witness  bool   `json:"witness,omitempty"`
	Priority uint8  `json:"priority"` // zero: never primary
	// Supports says that it promised to vote for nobody but the primary now, and Problem why it does not.
	Supports   bool          `json:"supports"`
	Problem    string        `json:"problem,omitempty"`
	ProblemFor time.Duration `json:"problemNanos,omitempty"`
}
