package contract

import "time"

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
	Results  [][]byte // one for each command
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
	// Serializable sees whatever this node has.
	Serializable
)

// Lag is what a region is behind the primary. Seconds is an upper bound at this moment (invariant 14), also while the
// primary cannot be heard; negative: no bound is known. Commands and Bytes are as of the primary's last word, and only
// the leader of a secondary, which follows the stream, knows Bytes.
type Lag struct {
	Commands uint64  `json:"commands"`
	Bytes    uint64  `json:"bytes"`
	Seconds  float64 `json:"seconds"`
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
	Reachable  bool     `json:"reachable"`
}

// SlotStatus is a secondary as its source sees it.
type SlotStatus struct {
	Region    string   `json:"region"`
	Position  Position `json:"position"` // acknowledged
	Lag       Lag      `json:"lag"`
	Connected bool     `json:"connected"`
	Lost      bool     `json:"lost,omitempty"` // past the retention bound: it has to bootstrap
}

// FleetStatus is the whole fleet as one node sees it.
type FleetStatus struct {
	Fleet   string         `json:"fleet"`
	Asked   string         `json:"asked"` // the node that made the picture
	Primary string         `json:"primary"`
	Epoch   Epoch          `json:"epoch"`
	Regions []RegionStatus `json:"regions"`
}

// RegionStatus is one region of the fleet.
type RegionStatus struct {
	Name     string       `json:"name"`
	Role     Role         `json:"role"` // "" if nobody answered
	Epoch    Epoch        `json:"epoch"`
	Position Position     `json:"position"`
	Chain    string       `json:"chain"`
	Leader   string       `json:"leader"`
	Sealed   bool         `json:"sealed,omitempty"`
	Lag      Lag          `json:"lag"`
	Activity string       `json:"activity,omitempty"` // what it does besides following
	Nodes    []NodeStatus `json:"nodes"`
	// Survivable says that the region can lose one more node, and LossSurvivable that the fleet can lose the whole
	// region without losing an acknowledged write: some other region has everything that this one is known to have.
	Survivable     bool   `json:"survivesNodeLoss"`
	LossSurvivable bool   `json:"survivable"`
	Problem        string `json:"problem,omitempty"`
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
	// Behind is how many commands the new primary is known to lack of the old one's history. More may be lost: nobody
	// can ask a region that does not answer.
	Behind uint64 `json:"behind"`
	// Warnings are what an operator should know.
	Warnings []string `json:"warnings,omitempty"`
}
