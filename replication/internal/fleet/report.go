package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/progress"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Report is what a node says of itself and its region. It travels as JSON; unknown fields are ignored, so that
// neighbouring versions understand each other (invariant 16).
type Report struct {
	Fleet      string   `json:"fleet"`
	Region     string   `json:"region"`
	Node       string   `json:"node"`
	ID         uint64   `json:"id"`
	PeerAddr   string   `json:"peer"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Starts     uint64   `json:"starts,omitempty"` // how often a node has started on its disk
	Leader     bool     `json:"leader"`
	LeaderID   uint64   `json:"leaderID"`
	Term       uint64   `json:"term"`
	// LeaderAgeSeconds is for how long the node has not heard the leader, or, if it leads, a majority: nil if it never
	// has. Led says that this is within the election time; nil from a node that is too old to say.
	LeaderAgeSeconds *float64 `json:"leaderAgeSeconds,omitempty"`
	Led              *bool    `json:"led,omitempty"`
	// DiskStalledSeconds is for how long the node's disk has not finished a write, zero unless that is long.
	DiskStalledSeconds float64 `json:"diskStalledSeconds,omitempty"`
	// DiskFullSeconds is for how long the node's log has found no room on the disk, zero if it has.
	DiskFullSeconds float64 `json:"diskFullSeconds,omitempty"`
	// Awaits says what state of another node this one waits for before it applies anything more, "" if none.
	Awaits string `json:"awaits,omitempty"`
	// Kept says why nobody leads for long: this node knows of what the region agreed on and who could lead lacks. ""
	// if it keeps no vote back for that.
	Kept string `json:"kept,omitempty"`
	// Transfer is the copy of a whole state that the node takes; nil: none, or it is too old to say.
	Transfer *progress.Transfer `json:"transfer,omitempty"`
	Index    uint64             `json:"index"` // applied
	Role     timeline.Role      `json:"role"`
	Writable bool               `json:"writable"`
	Sealed   *timeline.Seal     `json:"sealed,omitempty"`
	Cursor   timeline.Cursor    `json:"cursor"`
	Claim    timeline.Reign     `json:"claim"` // the highest it knows of
	Reigns   []timeline.Reign   `json:"reigns"`
	Diverged bool               `json:"diverged,omitempty"`
	Members  []timeline.Member  `json:"members"`
	Slots    []timeline.Slot    `json:"slots,omitempty"`
	// Following is the state of the stream from the source, at the leader of a secondary.
	Following *Following `json:"following,omitempty"`
	LogBytes  int64      `json:"logBytes"`
	// Disk and Boot are the node's data directory, on which Index is, and this process (recall).
	Disk string `json:"disk,omitempty"`
	Boot string `json:"boot,omitempty"`
	// Seal shows the node itself that it said Disk, Boot, Index and Starts (recall).
	Seal    string `json:"seal,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Moving says how far the switchover under way is, in words, on the leader of the primary.
	Moving   string `json:"moving,omitempty"`
	MovingTo string `json:"movingTo,omitempty"`
	// Level says which entries the node understands. Nodes from before levels say nothing: LevelFirst.
	Level timeline.Level `json:"level,omitempty"`
	// TakesWrites says that this node takes writes, which is more than that its region may: nil from a node that is too
	// old to say.
	TakesWrites *bool `json:"takesWrites,omitempty"`
	// Unlike are the regions that hold a part of a reign which is not in the history of this leader's region: it lost
	// that, or went on with something else, although reigns and positions do not tell.
	Unlike []string `json:"unlike,omitempty"`
	// Nodes are the voters and learners of the region's configuration, also those that never described themselves and
	// are not among Members; nil from a node that is too old to say.
	Nodes []Node `json:"nodes,omitempty"`
	// Voting is what the region has to do with votes; nil from a node that is too old to say.
	Voting *Voting `json:"voting,omitempty"`
	// Formed are the disks with which the node's region was formed, by Raft identity: which life of it the node is of.
	// nil: it does not know, or is too old to say.
	Formed map[uint64]string `json:"formed,omitempty"`
	// Forming says that the node is about to begin the first epoch of a new fleet.
	Forming bool `json:"forming,omitempty"`
	// Late says how late the region shows its history; nil: it shows what it has.
	Late *Late `json:"late,omitempty"`
	// OrderOnly says that the region is to show its history late, where it does not yet: see ByOrderAlone.
	OrderOnly bool `json:"orderOnly,omitempty"`
	// Witnesses are the words of witnesses that the node remembers, by the ID of the voter.
	Witnesses map[string][]Word `json:"witnesses,omitempty"`
	// Roster says which regions the fleet has, as this node's region has it; nil: it has none, or is too old to.
	Roster *timeline.Roster `json:"roster,omitempty"`
	// Configured are the other regions by the configuration of the node; nil from a node that is too old to say.
	Configured []string `json:"configured,omitempty"`
	// Warnings are what the leader of the primary says of those who vote, and Notes what is to happen by itself.
	Warnings []string `json:"warnings,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

// ByOrderAlone reports whether the region becomes primary by order alone: it shows its history late, or is to.
func (r *Report) ByOrderAlone() bool { return r.Late != nil || r.OrderOnly }

// Late is how late a region shows its history. It travels as JSON: never change a name.
type Late struct {
	Delay time.Duration     `json:"delay"` // as configured where this was said
	Shown timeline.Position `json:"shown"` // up to where that node shows the history
	// Of is of when that is: what came later is not shown. Zero: not known.
	Of time.Time `json:"of,omitzero"`
	// Full says that as much log is held back as may be, so that some is shown before it is as old as the delay.
	Full bool `json:"full,omitempty"`
	// Released says that all of it is being shown, by order.
	Released bool `json:"released,omitempty"`
}

// Word is what a witness says of its directory to those who vote with it: which moment of its life that is. Whoever
// heard a word of which the directory does not know heard what came after it was copied. It travels as JSON, and is in
// files: never change a name.
type Word struct {
	Line   string `json:"line"`   // drawn when the directory began to count
	Start  uint64 `json:"start"`  // how often a witness was started on it
	Boot   string `json:"boot"`   // drawn at that start
	Writes uint64 `json:"writes"` // how often its ballot was written
	// Seal shows the witness that it said this itself: nobody else can check it, or make one.
	Seal string `json:"seal,omitempty"`
}

// Voting is what a region has to do with votes about who is primary.
type Voting struct {
	Ballot  timeline.Nonce `json:"ballot,omitzero"`  // its identity; zero: it has none, and no vote
	Charter timeline.Mark  `json:"charter,omitzero"` // zero: it has none
	Lease   time.Duration  `json:"lease,omitzero"`   // of the charter
	Voters  []string       `json:"voters,omitempty"` // likewise
	// Promised is the highest epoch for which it voted, or of which it knows; zero from a node that is too old to say.
	Promised timeline.Epoch `json:"promised,omitzero"`
}

// VotingOf returns what a region in the state s has to do with votes.
func VotingOf(s *timeline.State) *Voting {
	v := new(Voting)
	if s.Ballot != nil {
		v.Ballot, v.Promised = s.Ballot.Identity, s.Ballot.Promised
	}
	if c := s.Charter(); c != nil {
		v.Charter, v.Lease = c.Mark(), c.Promise()
		for i := range c.Voters {
			v.Voters = append(v.Voters, c.Voters[i].ID)
		}
	}
	return v
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

// Origin returns the place in the history where the node is.
func (r *Report) Origin() timeline.Origin { return timeline.Origin{Cursor: r.Cursor, Reigns: r.Reigns} }

// CutOff reports whether the node says that it has not heard a leader for longer than the election time, or, if it
// leads, a majority.
func (r *Report) CutOff() bool { return r.Led != nil && !*r.Led }

// Following is how a secondary keeps up.
type Following struct {
	Source      string  `json:"source"`
	Connected   bool    `json:"connected"`
	LagCommands uint64  `json:"lagCommands"`
	LagBytes    uint64  `json:"lagBytes"`
	LagSeconds  float64 `json:"lagSeconds"` // negative: unknown
	Activity    string  `json:"activity,omitempty"`
	// AtLeast says that the source did not confirm lately where it is: it may have more commands and bytes.
	AtLeast bool `json:"atLeast,omitempty"`
	// Bootstrap is how far the copy is that the region takes; nil: it takes none, or the node is too old to say.
	Bootstrap *progress.Bootstrap `json:"bootstrap,omitempty"`
	// By is the region that serves, or is to, in the place of the source; "": that itself, or a node that is too old to
	// follow otherwise.
	By string `json:"by,omitempty"`
}

// From returns the region that serves, or is to.
func (f *Following) From() string {
	if f.By != "" {
		return f.By
	}
	return f.Source
}

// Heard is a report with how it was come by.
type Heard struct {
	Report
	Asked string    // the address that was asked, which is where to reach the node from here
	At    time.Time // local time at which the question was sent
}

// Region is what is known of another region.
type Region struct {
	Name string
	// Nodes are those that answered in the last round, in the order of their configured addresses, and those that said
	// since who leads the region or is primary.
	Nodes []Heard
	// Strange are nodes that answered and are of another life of the region: nothing of them counts but what they
	// claim.
	Strange []Heard
	// Life are the disks with which the region was formed, nil if nobody said it.
	Life map[uint64]string
	// Torn says that nodes of several lives of the region answered, and that it is not known which of those is its own:
	// nobody speaks for it as its leader.
	Torn  bool
	Tries int   // rounds so far
	Err   error // why nobody answered in the last round
	// Unled says that nodes of the region answer, and none of them leads it yet: what they have applied may be less
	// than what the region holds. It ends by itself, an interval after the first answer at the latest.
	Unled bool
	// Record is the furthest that a node of the region was heard to be, in this round or an earlier one; nil: none was
	// heard.
	Record *Heard
	// Level is the lowest of the nodes that answered in the last round in which any did; LevelNow before.
	Level timeline.Level
	// Asked is when the last round began, zero before the first has ended.
	Asked time.Time
	// Last is what the leader, or else the furthest node, said in the last round that had an answer; nil if none had.
	Last *Heard
	// Led is what a leader of the region said last, in any round, that heard a majority; nil if none was heard. What a
	// node says that lacks a part of what the region holds, or all of it, is not the region's word.
	Led *Heard

	claimed timeline.Reign // the highest one of its nodes, as its leader, or whoever spoke since, has it
	term    uint64         // of that leader
	voting  *Voting        // with a charter, as its leader, or whoever spoke of one since, has it; nil: none has
	silent  time.Duration  // up to counted, see SilentFor
	counted time.Time      // when the leader that spoke was asked, or, if none did, until when silent is counted
}

// has reports whether the node with this identity has answered.
func (r *Region) has(id uint64) bool {
	return id != 0 && slices.ContainsFunc(r.Nodes, func(h Heard) bool { return h.ID == id })
}

// Representative returns the report that stands for the region: its leader's, or else the one that is furthest; nil if
// nobody answered.
func (r Region) Representative() *Heard {
	if l := r.Leader(); l != nil {
		return l
	}
	return r.Furthest()
}

// Leader returns the report of the region's leader, nil if none answered, or the region is Torn. If several say that
// they lead, the highest term does.
func (r Region) Leader() *Heard {
	if r.Torn {
		return nil
	}
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
		if n := &r.Nodes[i]; best == nil || n.beyond(best) {
			best = n
		}
	}
	return best
}

// remember takes over from the picture of the round before what this round does not say anew.
func (r *Region) remember(before Region) {
	r.Record, r.Level = before.Record, before.Level
	r.claimed, r.term, r.voting, r.Led = before.claimed, before.term, before.voting, before.Led
	l := r.Leader()
	speaks := l != nil && !l.CutOff() && l.Term >= before.term
	if speaks { // else nobody may take a claim back, or a vote
		r.claimed, r.term, r.voting, r.Led = timeline.Reign{}, l.Term, nil, l
	}
	r.claimed = highest(r.Strange, highest(r.Nodes, r.claimed))
	for i := range r.Nodes {
		if n := &r.Nodes[i]; n.chartered() && (!speaks || n == l) {
			r.voting = n.Voting
		}
	}
	if f := r.Furthest(); f != nil && (r.Record == nil || f.beyond(r.Record)) {
		r.Record = f
	}
	if r.Last = r.Representative(); r.Last == nil {
		r.Last = before.Last
	}
	for i := range r.Nodes {
		if i == 0 {
			r.Level = timeline.LevelNow
		}
		r.Level = min(r.Level, r.Nodes[i].Level)
	}
}

// chartered reports whether the node says that its region takes votes.
func (r *Report) chartered() bool { return r.Voting != nil && r.Voting.Charter.Number != 0 }

// beyond reports whether h is further in the history than o.
func (h *Heard) beyond(o *Heard) bool {
	return timeline.Supersedes(h.Claim, o.Claim) || h.Claim == o.Claim && h.Cursor.Position > o.Cursor.Position
}

// View is a picture of all other regions. It is not changed after it was made.
type View struct {
	Regions map[string]Region
	// Former are regions that were removed from the fleet: nothing but what they claim counts.
	Former map[string]Region
}

// Without returns the picture without one region.
func (v View) Without(name string) View {
	regions := maps.Clone(v.Regions)
	delete(regions, name)
	return View{Regions: regions, Former: v.Former}
}

// Claim returns the highest claim among own and everything heard. What a region claimed counts until its leader says
// otherwise: a primary that heard of a higher one stays deposed when the link breaks again (invariant 6).
func (v View) Claim(own timeline.Reign) timeline.Reign {
	for _, regions := range []map[string]Region{v.Regions, v.Former} {
		for _, r := range regions {
			if own = highest(r.Strange, highest(r.Nodes, own)); timeline.Supersedes(r.claimed, own) {
				own = r.claimed
			}
		}
	}
	return own
}

func highest(nodes []Heard, own timeline.Reign) timeline.Reign {
	for i := range nodes {
		if c := nodes[i].Claim; timeline.Supersedes(c, own) {
			own = c
		}
	}
	return own
}

// Votes returns the name of a region that was heard to take votes, and its lease; "" if none was. That a node of it was
// heard counts until its leader says otherwise.
func (v View) Votes() (region string, lease time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		if voting := v.Regions[name].voting; voting != nil {
			return name, voting.Lease
		}
	}
	return "", 0
}

// Settled reports whether every region was asked at least once, answered or not, and spoke through its leader if it
// has one.
func (v View) Settled() bool {
	for _, regions := range []map[string]Region{v.Regions, v.Former} {
		for _, r := range regions {
			if r.Tries == 0 || r.Unled {
				return false
			}
		}
	}
	return true
}
