package timeline

import (
	"fmt"
	"slices"
	"time"
)

// Voter has one vote about who is primary: a region, whatever its number of nodes, or a witness, which has no data.
type Voter struct {
	ID string `json:"id"` // a region's name, or WitnessPrefix and the name of a witness
	// Identity is that of its ballot. Who lost his ballot has forgotten his votes, and comes back with another one.
	Identity Nonce    `json:"identity"`
	Addrs    []string `json:"addrs,omitempty"` // of a witness
	// Priority says which of two regions that are equally far is to be primary: the higher one. Zero: never primary.
	Priority uint8 `json:"priority,omitempty"`
}

// WitnessPrefix begins the ID of a witness, and of nobody else.
const WitnessPrefix = "witness/"

// NoBound is a budget or a ceiling without a bound.
const NoBound = ^uint64(0)

// Charter says who votes, and by which rules. It is replicated to every voter, and changed only by the primary.
type Charter struct {
	// Epoch is that of the primary which wrote it, and Number counts: a charter with the higher Mark is the newer one.
	Epoch  Epoch   `json:"epoch"`
	Number uint64  `json:"number"`
	Voters []Voter `json:"voters"` // by ID
	// Lease is how long a voter's promise holds, on its own clock; DriftPPM bounds how wrong that clock runs.
	Lease    time.Duration `json:"lease"`
	DriftPPM uint32        `json:"drift"`
	// Patience is how long a region waits, after its promise ran out, before it asks for votes.
	Patience time.Duration `json:"patience"`
	// MaxLoss is how many acknowledged commands a failover may lose unless an operator accepts more; NoBound: any.
	MaxLoss uint64 `json:"maxLoss"`
	// StopWrites has a primary whose secondaries lag stop rather than exceed MaxLoss.
	StopWrites bool `json:"stopWrites,omitempty"`
	// Automatic lets a region take over of its own accord, while Paused, a reason, is empty.
	Automatic bool   `json:"automatic,omitempty"`
	Paused    string `json:"paused,omitempty"`

	// Of nodes of LevelPolicy.

	// Flap bounds how often the primary moves by itself; nil: DefaultFlap.
	Flap *Flap `json:"flap,omitempty"`
	// Failback is for how long a region of a higher priority than the primary's has to keep up before it takes over, by
	// a switchover; zero: it never does by itself. Returns are those that the primary ordered.
	Failback time.Duration `json:"failback,omitempty"`
	Returns  []Move        `json:"returns,omitempty"`
	// Former is the lease before, where that was longer, until no promise for so long is left; else zero.
	Former time.Duration `json:"former,omitempty"`

	// Of nodes of LevelHold.

	// Hold has the primary of Epoch go on while other voters are away; nil: it does not.
	Hold *Hold `json:"hold,omitempty"`
	// Under is up to where was acknowledged in a hold that is over.
	Under Under `json:"under,omitzero"`

	// Priorities are those that regions get when they vote again, since they had them. Nothing is decided by them: who
	// does not know of them may drop them.
	Priorities map[string]uint8 `json:"priorities,omitempty"`
}

// Mark is the version of a charter.
type Mark struct {
	Epoch  Epoch  `json:"epoch"`
	Number uint64 `json:"number"`
}

// Before reports whether m is of an older charter than o.
func (m Mark) Before(o Mark) bool {
	return m.Epoch < o.Epoch || m.Epoch == o.Epoch && m.Number < o.Number
}

// Mark returns the version of c.
func (c *Charter) Mark() Mark { return Mark{c.Epoch, c.Number} }

// Voter returns the voter with this ID, nil if there is none.
func (c *Charter) Voter(id string) *Voter {
	if i := slices.IndexFunc(c.Voters, func(v Voter) bool { return v.ID == id }); i >= 0 {
		return &c.Voters[i]
	}
	return nil
}

// Related reports whether the charters are of one fleet, as far as anybody but voter shows it: one who is in both, with
// the same ballot.
func (c *Charter) Related(o *Charter, voter string) bool {
	return slices.ContainsFunc(c.Voters, func(v Voter) bool {
		w := o.Voter(v.ID)
		return v.ID != voter && w != nil && w.Identity == v.Identity
	})
}

// Spread returns in how many regions a write has to be before it is acknowledged: in one, but where nothing may be lost
// in as many as no majority of voters can be without, also not when there is one voter more, up to four.
func (c *Charter) Spread() int {
	if c.MaxLoss != 0 {
		return 1
	}
	return max(len(c.Voters)-c.Majority()+1, min(2, c.Regions()))
}

// Majority returns how many votes decide.
func (c *Charter) Majority() int { return len(c.Voters)/2 + 1 }

// Spares reports whether the others are a majority without this voter.
func (c *Charter) Spares(voter string) bool {
	return c.Voter(voter) == nil || len(c.Voters)-1 >= c.Majority()
}

// Regions returns how many voters hold data.
func (c *Charter) Regions() (n int) {
	for i := range c.Voters {
		if !c.Voters[i].Witness() {
			n++
		}
	}
	return n
}

// Witness reports whether the voter has no data.
func (v *Voter) Witness() bool {
	return len(v.ID) > len(WitnessPrefix) && v.ID[:len(WitnessPrefix)] == WitnessPrefix
}

// Promise returns the longest time for which somebody may have promised, but for a hold.
func (c *Charter) Promise() time.Duration { return max(c.Lease, c.Former) }

// Guard returns the longest time for which somebody may have promised who has forgotten it, but for a hold that is
// counted.
func (c *Charter) Guard() time.Duration {
	if c.Hold != nil && !c.Hold.Counted {
		return max(c.Promise(), c.Hold.For)
	}
	return c.Promise()
}

// Outlasts returns how long it takes, on the clock of somebody who counts from when no more of them are given, until no
// promise for as long as Former is left, on any clock.
func (c *Charter) Outlasts() time.Duration { return c.Outlasted(c.Former) + time.Millisecond }

// Outlasted returns how much of the fastest clock goes by, at most, in so much of the slowest, if none runs wrong by
// more than the drift.
func (c *Charter) Outlasted(d time.Duration) time.Duration {
	const million = 1_000_000
	drift := int64(c.DriftPPM)
	return time.Duration(int64(d) / (million - drift) * (million + drift))
}

// Certain returns for how long a promise of so long is certain to hold for whoever asked for it, counted on its own
// clock from before it asked. If no clock runs wrong by more than the drift, it ends there before it ends at the voter.
func (c *Charter) Certain(promise time.Duration) time.Duration {
	const million = 1_000_000
	drift := int64(c.DriftPPM)
	return time.Duration(int64(promise) / (million + drift) * (million - drift))
}

// Limits of a charter.
const (
	MinLease    = time.Second
	MaxDriftPPM = 200_000
	MaxVoters   = 15
)

// Fault returns what is wrong with the charter, "" if it can be kept.
func (c *Charter) Fault() string {
	eligible, names := false, ""
	for i := range c.Voters {
		v := &c.Voters[i]
		if v.ID == "" || v.ID <= names {
			return fmt.Sprintf("voter %q stands behind %q", v.ID, names)
		}
		if v.Witness() && (len(v.Addrs) == 0 || v.Priority != 0) {
			return fmt.Sprintf("%s has %d addresses and priority %d", v.ID, len(v.Addrs), v.Priority)
		}
		names = v.ID
		eligible = eligible || v.Priority > 0
	}
	switch {
	case c.Number == 0 || c.Epoch == 0:
		return fmt.Sprintf("it has number %d of epoch %d", c.Number, c.Epoch)
	case len(c.Voters) > MaxVoters:
		return fmt.Sprintf("it has %d voters, at most %d are possible", len(c.Voters), MaxVoters)
	case !eligible:
		return "no region of it may be primary"
	case c.Lease < MinLease || c.Patience < 0 || c.DriftPPM > MaxDriftPPM:
		return fmt.Sprintf("lease %v (at least %v), patience %v, drift %d ppm (at most %d)", c.Lease, MinLease,
			c.Patience, c.DriftPPM, MaxDriftPPM)
	case c.Bound().Moves > MaxMoves || c.Bound().Within < 0 || c.Failback < 0 || c.Former < 0:
		return fmt.Sprintf("%d moves (at most %d) in %v, failback after %v", c.Bound().Moves, MaxMoves,
			c.Bound().Within, c.Failback)
	case c.Hold.fault(c) != "":
		return c.Hold.fault(c)
	case c.Automatic && len(c.Voters) < 3:
		return fmt.Sprintf("of %d voters none can be missing, so nothing can move by itself: add a witness",
			len(c.Voters))
	}
	return ""
}

// Ballot is what a voter remembers: its charter, its vote, and what it knows of who reigned last. It is never changed
// in place.
type Ballot struct {
	Identity Nonce
	// Charter has Number zero while the voter only waits for one.
	Charter Charter
	// Promised is the highest epoch for which it voted or whose primary it knows, For is that primary, and Handoff the
	// number of the handoff by which it is to begin.
	Promised Epoch
	For      string
	Handoff  uint64
	Known    Known
	// Count is how much is over of the charter's hold, if that is counted. Of nodes of LevelCount.
	Count Count `json:",omitzero"`
	// Moves are those for which it voted that move the primary by itself, the last ones. What becomes of an entry never
	// depends on them: versions that do not keep them apply the same.
	Moves []Move `json:",omitempty"`
}

// Known is what a voter knows of the newest reign that asked for its promise: the history up to it, and the highest
// position that its primary may have acknowledged.
type Known struct {
	Reigns  []Reign  `json:",omitempty"`
	Ceiling Position `json:",omitempty"`
}

// Epoch returns that of the newest reign, zero if none is known.
func (k *Known) Epoch() Epoch { return Latest(k.Reigns).Epoch }

// Lost returns how many commands that may have been acknowledged a history lacks, up to the last position that the
// reigns of a and at describe. A history with a later reign lost what it did when that was voted for.
func (k *Known) Lost(reigns []Reign, at Position) uint64 {
	if k.Epoch() == 0 || Latest(reigns).Epoch > k.Epoch() {
		return 0
	}
	_, shared := Compare(k.Reigns, reigns, k.Ceiling, at)
	return uint64(k.Ceiling - min(shared, k.Ceiling))
}

// Charter returns the charter by which votes are taken, nil if there is none: then the region is moved by hand.
func (s *State) Charter() *Charter {
	if s.Ballot == nil || s.Ballot.Charter.Number == 0 {
		return nil
	}
	return &s.Ballot.Charter
}

// Under returns s as it will be, but for the vote, once the region voted by the charter c, which is newer than its own.
func (s *State) Under(c *Charter) *State {
	next, b := *s, *s.Ballot
	b.keep(c)
	next.Ballot = &b
	return &next
}

// elsewhere reports whether the region voted for another one in an epoch that has not begun here.
func (s *State) elsewhere() bool {
	return s.Charter() != nil && s.Ballot.Promised > s.Cursor.Epoch && s.Ballot.For != s.Region
}
