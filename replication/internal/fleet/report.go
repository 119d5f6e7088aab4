package fleet

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Report is what a node says of itself and its region. It travels as JSON; unknown fields are ignored, so that
// neighbouring versions understand each other (invariant 16).
type Report struct {
	Fleet      string            `json:"fleet"`
	Region     string            `json:"region"`
	Node       string            `json:"node"`
	ID         uint64            `json:"id"`
	PeerAddr   string            `json:"peer"`
	ClientURLs []string          `json:"clientURLs,omitempty"`
	Leader     bool              `json:"leader"`
	LeaderID   uint64            `json:"leaderID"`
	Term       uint64            `json:"term"`
	Index      uint64            `json:"index"` // applied
	Role       timeline.Role     `json:"role"`
	Writable   bool              `json:"writable"`
	Sealed     *timeline.Seal    `json:"sealed,omitempty"`
	Cursor     timeline.Cursor   `json:"cursor"`
	Claim      timeline.Reign    `json:"claim"` // the highest it knows of
	Reigns     []timeline.Reign  `json:"reigns"`
	Diverged   bool              `json:"diverged,omitempty"`
	Members    []timeline.Member `json:"members"`
	Slots      []timeline.Slot   `json:"slots,omitempty"`
	// Following is the state of the stream from the source, at the leader of a secondary.
	Following *Following `json:"following,omitempty"`
	LogBytes  int64      `json:"logBytes"`
	Problem   string     `json:"problem,omitempty"`
	// TakesWrites says that this node takes writes, which is more than that its region may: nil from a node that is too
	// old to say.
	TakesWrites *bool `json:"takesWrites,omitempty"`
	// Nodes are the voters and learners of the region's configuration, also those that never described themselves and
	// are not among Members; nil from a node that is too old to say.
	Nodes []Node `json:"nodes,omitempty"`
}

// Node is a voter or learner of a region's configuration. Name and PeerAddr are empty if nobody told them.
type Node struct {
	ID       uint64 `json:"id"`
	Name     string `json:"name,omitempty"`
	PeerAddr string `json:"peer,omitempty"`
	Learner  bool   `json:"learner,omitempty"`
}

// Writes reports whether the node takes writes, by what it said.
func (r *Report) Writes() bool {
	if r.TakesWrites != nil {
		return *r.TakesWrites
	}
	return r.Leader && r.Writable
}

// Following is how a secondary keeps up.
type Following struct {
	Source      string  `json:"source"`
	Connected   bool    `json:"connected"`
	LagCommands uint64  `json:"lagCommands"`
	LagBytes    uint64  `json:"lagBytes"`
	LagSeconds  float64 `json:"lagSeconds"` // negative: unknown
	Activity    string  `json:"activity,omitempty"`
}

// Heard is a report with how it was come by.
type Heard struct {
	Report
	Asked string    // the address that was asked, which is where to reach the node from here
	At    time.Time // local time at which the question was sent
}

// Region is what is known of another region.
type Region struct {
	Name  string
	Nodes []Heard // of those that answered in the last round, in the order of their configured addresses
	Tries int     // rounds so far
	Err   error   // why nobody answered in the last round
	// Asked is when the last round began, zero before the first has ended.
	Asked time.Time
	// Last is what the leader, or else the furthest node, said in the last round that had an answer; nil if none had.
	Last *Heard
}

// Spokesman returns the report that speaks for the region: its leader's, or else the one that is furthest; nil if
// nobody answered.
func (r Region) Spokesman() *Heard {
	if l := r.Leader(); l != nil {
		return l
	}
	return r.Furthest()
}

// Leader returns the report of the region's leader, nil if none answered. If several say that they lead, the highest
// term does.
func (r Region) Leader() *Heard {
	var best *Heard
	for i := range r.Nodes {
		if n := &r.Nodes[i]; n.Leader && (best == nil || n.Term > best.Term) {
			best = n
		}
	}
	return best
}

// Furthest returns the report that is furthest in the history, nil if nobody answered.
func (r Region) Furthest() *Heard {
	var best *Heard
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if best == nil || timeline.Supersedes(n.Claim, best.Claim) ||
			(n.Claim == best.Claim && n.Cursor.Position > best.Cursor.Position) {
			best = n
		}
	}
	return best
}

// View is a picture of all other regions. It is not changed after it was made.
type View struct {
	Regions map[string]Region
}

// Claim returns the highest claim among own and everything heard.
func (v View) Claim(own timeline.Reign) timeline.Reign {
	for _, r := range v.Regions {
		for i := range r.Nodes {
			if c := r.Nodes[i].Claim; timeline.Supersedes(c, own) {
				own = c
			}
		}
	}
	return own
}

// Settled reports whether every region was asked at least once, answered or not.
func (v View) Settled() bool {
	for _, r := range v.Regions {
		if r.Tries == 0 {
			return false
		}
	}
	return true
}
