package console

import "time"

// Picture is the fleet at a moment, in the words of `mimir status`. What is not known is "-" or unknown, as there.
type Picture struct {
	At      time.Time `json:"at"` // when it was asked for, by the clock of the node that serves the page
	Fleet   string    `json:"fleet"`
	Asked   string    `json:"asked"` // the node that made the picture
	Primary string    `json:"primary"`
	Epoch   string    `json:"epoch"`
	// Wrong is why `mimir status --check` would fail, "" if it would not.
	Wrong   string   `json:"wrong,omitempty"`
	Lines   []Line   `json:"lines"` // the worst first
	Regions []Region `json:"regions"`
	// Votes says who votes and what the primary may acknowledge, a sentence each, as `mimir fleet show` has it.
	Votes        []string      `json:"votes"`
	Voters       []Voter       `json:"voters,omitempty"`
	Slots        []Slot        `json:"slots,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	// Leases is how many there are in what the node that serves the page has.
	Leases int `json:"leases"`
	// Silent are the nodes that were asked for more than their region tells of them, and did not answer.
	Silent []string `json:"silent,omitempty"`
}

// Kinds of lines, the worst first.
const (
	Wrong = "wrong" // an error or a warning
	Note  = "note"  // what is to happen by itself, or is under way
	Open  = "open"  // what is open to others
	Told  = "told"  // what is as it should be, or nobody asked for
)

// Line is one thing that status tells.
type Line struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Commands help, each whole: it can be copied to a terminal.
	Commands []string `json:"commands,omitempty"`
}

// Region is a row of the table of status, and what is told of the region beside it.
type Region struct {
	Name     string `json:"name"`
	Role     string `json:"role"` // "-" if nobody of it answered
	Epoch    string `json:"epoch"`
	Position string `json:"position"`
	Revision string `json:"revision"`
	Leader   string `json:"leader"`
	Voters   string `json:"voters"` // that answer, of how many
	Lag      string `json:"lag"`

	TakesWrites bool `json:"takesWrites"`
	// Source is the region that it follows, "" if it follows none or that is not known, and Connected says that the
	// stream from there stands.
	Source    string `json:"source,omitempty"`
	Connected bool   `json:"connected"`
	// Fence says of the primary whether it has a lease or is fenced; "" where no votes are taken or it is not known.
	Fence   string `json:"fence,omitempty"`
	Problem string `json:"problem,omitempty"` // "" if nothing is known to be wrong
	Late    string `json:"late,omitempty"`    // how late it is kept, on purpose
	// NodeLoss and RegionLoss say what the loss of one more node, and of the whole region, costs.
	NodeLoss   Loss    `json:"nodeLoss"`
	RegionLoss Loss    `json:"regionLoss"`
	Figures    Figures `json:"figures"`
	Nodes      []Node  `json:"nodes"`
}

// Loss says what a loss costs: "none" if nothing is lost, "some" if something can be, "unknown".
type Loss struct {
	Cost string `json:"cost"`
	Text string `json:"text"`
}

// Costs of a loss.
const (
	CostNone    = "none"
	CostSome    = "some"
	CostUnknown = "unknown"
)

// Figures are what lines are drawn of. Nil: not known, and never drawn as zero.
type Figures struct {
	Position    *uint64  `json:"position"`
	LagSeconds  *float64 `json:"lagSeconds"`  // an upper bound; nil of the primary too
	LagCommands *uint64  `json:"lagCommands"` // nil also where there may be more
	LagBytes    *uint64  `json:"lagBytes"`
}

// Node is a row of `mimir status --verbose`.
type Node struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Well     bool   `json:"well"` // it answers and says so itself
	Version  string `json:"version"`
	Position string `json:"position"`
	Revision string `json:"revision"`
	Store    string `json:"store"`
	Log      string `json:"log"`
	At       string `json:"at"` // where clients reach it
}

// Voter is a row of `mimir fleet show`: a region or a witness.
type Voter struct {
	Name     string `json:"name"`
	Priority string `json:"priority"`
	State    string `json:"state"`
}

// Slot is what a secondary has acknowledged, as the node From of the primary keeps it.
type Slot struct {
	Region   string `json:"region"`
	From     string `json:"from"`
	Position string `json:"position"`
	Lag      string `json:"lag"`
	State    string `json:"state"`
}

// Certificate is one that a node shows or trusts.
type Certificate struct {
	Node     string    `json:"node"`
	Block    string    `json:"block"`
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter,omitzero"`
	State    string    `json:"state,omitempty"` // expiring, expired, or empty
}

// Slow is a request that took long, as the log of the node that serves the page was told of it.
type Slow struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Took   string    `json:"took"`
	About  string    `json:"about"` // how it ended, who asked, and its first key; no value
	More   int       `json:"more"`  // that were slow, and of which the log was told nothing, since the one before
}

// Setting is one that is in force on the node that serves the page. None is a secret: those are in files.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"` // default, or where it was set
}
