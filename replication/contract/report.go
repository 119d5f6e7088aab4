package contract

import (
	"encoding/json"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Role is what a region is in its fleet.
type Role string

// Roles. A region that is neither primary nor secondary holds a history that has to be mended first.
const (
	RolePrimary   Role = "primary"
	RoleSecondary Role = "secondary"
	// RoleDiverged is a region with a tail that the fleet's history does not have. It takes no writes and serves no
	// stream; it saves the tail and rejoins by itself.
	RoleDiverged Role = "diverged"
)

// Tenure names the time in which one node takes the fleet's writes: the term in which it leads its region, and the
// epoch in which that is the primary. Nobody else takes writes in between. The zero Tenure is none.
type Tenure struct {
	Term  uint64
	Epoch Epoch
}

// Receipt tells where in the history a write is, with the storage's results.
type Receipt struct {
	Epoch    Epoch
	Position Position // of the last command of the unit
	Results  [][]byte // one for each command; an empty one is not nil, and says no more than that it is empty
	// Regions is the number of regions in which the write was known to be durable when the call returned, this
	// history's primary included.
	Regions int
}

// Level says how fresh a read has to be.
type Level int

// Levels of a read barrier.
const (
	// Linearizable sees every write acknowledged anywhere before the call began.
	Linearizable Level = iota
	// Serializable sees whatever this node has, and nothing older than it showed before it was started.
	Serializable
)

// Lag is what a region is behind the primary. Seconds is an upper bound at this moment (invariant 14), also while the
// primary cannot be heard; negative: no bound is known. Commands and Bytes are as of the primary's last word, and only
// the leader of a secondary, which follows the stream, knows Bytes.
type Lag struct {
	Commands uint64  `json:"commands"`
	Bytes    uint64  `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	// AtLeast says that the source did not confirm lately where it is: Commands and Bytes are what is known of, and
	// there may be more. Zero then says nothing.
	AtLeast bool `json:"atLeast,omitempty"`
}

// MarshalJSON writes null for what is not known, so that nobody reads a zero as a small lag.
func (l Lag) MarshalJSON() ([]byte, error) {
	out := struct {
		Known    bool    `json:"known"` // that Seconds is a bound
		Commands *uint64 `json:"commands"`
		Bytes    *uint64 `json:"bytes"`
		Seconds  float64 `json:"seconds"` // negative if not known
		AtLeast  bool    `json:"atLeast,omitempty"`
	}{l.Seconds >= 0, &l.Commands, &l.Bytes, l.Seconds, l.AtLeast}
	exact := out.Known && !l.AtLeast
	if !exact && l.Commands == 0 {
		out.Commands = nil
	}
	if !exact && l.Bytes == 0 {
		out.Bytes = nil
	}
	return json.Marshal(out)
}

// LastHeard is what was known of a region when one of its nodes last answered.
type LastHeard struct {
	Node       string   `json:"node"`   // that answered
	Leader     bool     `json:"leader"` // it led the region; else it may have been behind
	Role       Role     `json:"role"`
	Epoch      Epoch    `json:"epoch"`
	Position   Position `json:"position"`
	AgeSeconds float64  `json:"ageSeconds"` // since it was asked
}

// NodeStatus is one node as others see it.
type NodeStatus struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"`
	Region     string   `json:"region"`
	PeerAddr   string   `json:"peer"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Leader     bool     `json:"leader"`
	Learner    bool     `json:"learner,omitempty"`
	// Expected says that the node was added by its address alone, and did not come yet: it has no name, and holds its
	// place as a learner. WillVote says what it is to become.
	Expected bool `json:"expected,omitempty"`
	WillVote bool `json:"willVote,omitempty"`
	// PlaceID is the identity of the place that was held for the node before it came, zero if there was none; see Is.
	PlaceID   uint64 `json:"-"`
	Reachable bool   `json:"reachable"`
	// ReachableKnown says that Reachable was found out: of its siblings a node knows it only while it leads.
	ReachableKnown bool `json:"reachableKnown"`
	// LeaderAgeSeconds is how long ago the node said that it last heard a leader of its region, or, if it leads, a
	// majority; nil if it did not answer, never heard one, or is too old to say. CutOff says that this is longer than
	// the election time: what it has of its region may be old.
	LeaderAgeSeconds *float64 `json:"leaderAgeSeconds,omitempty"`
	CutOff           bool     `json:"cutOff,omitempty"`
	// OtherLife says that the node answered, and is of another life of its region, which it formed anew without the
	// others: it is not heard, and counts as one that is not Reachable.
	OtherLife bool `json:"otherLife,omitempty"`
	// Transfer is the copy of a whole state that the node takes; nil: none, or it is too old to say.
	Transfer *Transfer `json:"transfer,omitempty"`
}

// Is reports whether an identity means this node: its own, or that of the place that was held for it before it came.
func (s *NodeStatus) Is(id uint64) bool { return s.ID == id || s.PlaceID != 0 && s.PlaceID == id }

// SlotStatus is a secondary as its source sees it.
type SlotStatus struct {
	Region    string   `json:"region"`
	Position  Position `json:"position"` // acknowledged
	Lag       Lag      `json:"lag"`
	Connected bool     `json:"connected"`      // to this node
	Lost      bool     `json:"lost,omitempty"` // past the retention bound: it has to bootstrap
}

// FleetStatus is the whole fleet as one node sees it.
type FleetStatus struct {
	Fleet   string         `json:"fleet"`
	Asked   string         `json:"asked"`   // the node that made the picture
	Primary string         `json:"primary"` // by the highest claim that is known
	Epoch   Epoch          `json:"epoch"`   // of that claim
	Regions []RegionStatus `json:"regions"`
	// Roster is by which the asked node knows the regions; nil: by its configuration.
	Roster *RosterMark `json:"roster,omitempty"`
	// TakeWrites are the regions whose leader said that it takes writes. More than one: two histories are growing.
	TakeWrites []string `json:"takeWrites"`
	// Warnings are what an operator should know, the worst first.
	Warnings []string `json:"warnings,omitempty"`
	// Notes are what is to happen by itself, and what is waited for.
	Notes []string `json:"notes,omitempty"`
}

// RegionStatus is one region of the fleet, as one of its nodes told it. If none answered (Heard), Role, Epoch, Position
// and Chain say nothing, and LastHeard says what was known before.
type RegionStatus struct {
	Name string `json:"name"`
	// Heard says that a node of the region answered: By, its leader, or else the one that is furthest, which may be
	// behind its leader.
	Heard     bool       `json:"heard"`
	By        string     `json:"by,omitempty"`
	LastHeard *LastHeard `json:"lastHeard,omitempty"` // nil also if it never was, since the asked node started
	// LeaderAgeSeconds is how old the word of a leader is by which the node By speaks, or, if it leads itself, that of
	// its majority; nil if it has none, or is too old to say.
	LeaderAgeSeconds *float64 `json:"leaderAgeSeconds,omitempty"`

	Role     Role     `json:"role"` // "" if nobody answered
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	Chain    string   `json:"chain"`
	Leader   string   `json:"leader"`
	Sealed   bool     `json:"sealed,omitempty"`
	Lag      Lag      `json:"lag"`
	Activity string   `json:"activity,omitempty"` // what it does besides following
	Moving   string   `json:"moving,omitempty"`   // how far the switchover away from it is, in words
	MovingTo string   `json:"movingTo,omitempty"` // to where
	// TakesWrites says that its leader takes writes.
	TakesWrites bool         `json:"takesWrites"`
	Nodes       []NodeStatus `json:"nodes"`
	// Voters are those of the region's configuration, and Reachable how many of them answered; Missing names who did
	// not, learners too, but for those that are Expected.
	Voters    int      `json:"voters"`
	Reachable int      `json:"votersReachable"`
	Missing   []string `json:"missing,omitempty"`
	// Survivable says that the region can lose one more node, and LossSurvivable that the fleet could have lost the
	// whole region, when it was asked, without losing a write that it had acknowledged: some other region has
	// everything that its leader had. It is false also if that is not known, because no leader answered whom a majority
	// of its voters names: see LossKnown.
	Survivable     bool   `json:"survivesNodeLoss"`
	LossSurvivable bool   `json:"survivable"`
	LossKnown      bool   `json:"survivableKnown"`
	Problem        string `json:"problem,omitempty"`
	// Late says how late the region shows its history, on purpose: its lag is of what it has. Nil: it is not.
	Late *Late `json:"late,omitempty"`

	// KnownFrom is from where the asked node knows the region, and Addrs where it is said to be reached: of the asked
	// node's own region, without a roster, that is nowhere said. "": the asked node is too old to say.
	KnownFrom KnownFrom `json:"knownFrom,omitempty"`
	Addrs     []string  `json:"addrs,omitempty"`
	// Votes tells whether the region votes about the primary, by the word of the leader of that.
	Votes Vote `json:"votes,omitempty"`
	// Source is the region that it follows, by the word of its leader, and Connected says that the stream from there
	// is up. "": it follows none, or no leader told.
	Source    string `json:"source,omitempty"`
	Connected bool   `json:"connected,omitempty"`
	// WantedSource is the region that it is to follow while that is well, by the roster; "": the primary.
	WantedSource string `json:"wantedSource,omitempty"`
	// Slot is what the primary keeps for the region; nil: nothing, if SlotKnown, which says that the leader of the
	// primary told.
	Slot      *SlotPosition `json:"slot,omitempty"`
	SlotKnown bool          `json:"slotKnown,omitempty"`
	// Bootstrap is how far the copy is that the region takes, by the word of its leader; nil: it takes none, or no
	// leader told, or that is too old to.
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
}

// SlotPosition is what a source keeps for a region: what it acknowledged.
type SlotPosition struct {
	Position Position `json:"position"`
	Lost     bool     `json:"lost,omitempty"` // past the retention bound: it has to bootstrap
}

// RosterMark names a roster: which regions the fleet has, as state of it.
type RosterMark = timeline.RosterMark

// KnownFrom is from where a node knows of a region.
type KnownFrom string

// Where regions are known from.
const (
	FromConfiguration KnownFrom = "configuration"
	FromRoster        KnownFrom = "roster"
)

// Vote tells whether a region votes about the primary.
type Vote string

// Votes of regions.
const (
	VoteYes     Vote = "yes"
	VoteNo      Vote = "no"
	VoteNone    Vote = "none-taken" // the primary is moved by hand
	VoteUnknown Vote = "unknown"    // no leader of the primary answered
)

// Late is how late a region shows its history.
type Late struct {
	DelaySeconds float64  `json:"delaySeconds"` // as configured; 0 where the delay is being ended
	Shown        Position `json:"shown"`        // up to where the node that was asked shows the history
	// Of is of when that is, by the clock of the region's leader: what came later is not shown. Zero: not known.
	Of time.Time `json:"of,omitzero"`
	// Full says that as much log is held back as may be, so that some is shown before it is as old as the delay.
	Full bool `json:"full,omitempty"`
	// Released says that all of it is being shown, for a move.
	Released bool `json:"released,omitempty"`
}

// Point names a place in a history: by one of its fields, or if all are zero by position zero.
type Point struct {
	Position Position `json:"position,omitempty"`
	// Revision is what the embedder counts (Config.Revision).
	Revision int64     `json:"revision,omitempty"`
	Time     time.Time `json:"time,omitzero"` // by the clock of the region's leader then
}

// Formation tells how a region was formed by an order, without all of its nodes.
type Formation struct {
	Region string   `json:"region"`
	Nodes  []string `json:"nodes"` // with which it was formed, whose disks were empty
	// Left are those that did not answer: whatever they acknowledged is not part of the region.
	Left []string `json:"left,omitempty"`
}

// MoveReport tells how the primary moved.
type MoveReport struct {
	From     string   `json:"from"` // the primary before; "" if none was known
	To       string   `json:"to"`
	Epoch    Epoch    `json:"epoch"`    // the one that began
	Position Position `json:"position"` // the last one of the epoch before
	// Pause is for how long no region took writes: from the seal to the beginning, as the old primary measured it. Zero
	// for a failover.
	Pause time.Duration `json:"pauseNanos"`
	Lossy bool          `json:"lossy"` // a tail may have been lost; its old region saves it when it is back
	// Behind is how many commands the new primary is known to lack of the old one's history, a lower bound: nobody can
	// ask a region that does not answer. It says something only if the old primary was heard: BehindKnown if its leader
	// answered when the failover was asked for, or LastHeard.
	Behind      uint64     `json:"behind"`
	BehindKnown bool       `json:"behindKnown"`
	LastHeard   *LastHeard `json:"lastHeard,omitempty"` // of the old primary, before it was asked in vain
	// Loss says in words what a failover is known to have lost, and what is not known. Empty if nothing can be lost.
	Loss string `json:"loss,omitempty"`
	// Warnings are what an operator should know.
	Warnings []string `json:"warnings,omitempty"`
}
