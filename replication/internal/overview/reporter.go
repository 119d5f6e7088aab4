package overview

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// AskReport asks a node how it and its region are. The name is on the wire.
const AskReport = peer.Question[Asker, fleet.Report]("report")

// Asker is who asks. A version that does not say so, or does not read it, leaves it out.
type Asker struct {
	Region string          `json:"region,omitempty"`
	Member timeline.Member `json:"member,omitzero"`
}

// Ask returns what the node at addr says of itself, to a node that says who it is.
func Ask(ctx context.Context, c *peer.Client, addr string, a Asker) (fleet.Report, error) {
	return peer.Ask(ctx, c, addr, AskReport, a)
}

// What a Reporter reads. All are safe for concurrent use, and none waits.
type (
	// Group is the region's Raft group.
	Group interface {
		// Leader returns the Raft identity of the leader, zero if none is known, and the term.
		Leader() (id, term uint64)
		// Heard returns when this node last heard the leader, or as the leader a majority, zero if never, and whether
		// that is within the election time.
		Heard() (at time.Time, lately bool)
		// DiskStalled returns for how long the disk has not finished a write, zero unless that is long.
		DiskStalled() time.Duration
		// DiskFull returns for how long the log has found no room on the disk, zero if it has.
		DiskFull() time.Duration
		// Kept says why this node helps nobody to lead, "" if it does.
		Kept() string
	}
	// Log is the log on this node's disk.
	Log interface{ Bytes() int64 }
	// Slots knows what the secondaries have: on the leader, up to now.
	Slots interface{ Now() []timeline.Slot }
	// Follower follows a source, on the leader of a secondary.
	Follower interface{ Following() *fleet.Following }
	// Losses knows whether the leader's region lost a part of the history that it wrote, and which regions have it.
	Losses interface {
		Loss() error
		Unlike() []string
	}
	// Governor decides for the region, on its leader.
	Governor interface {
		Handing() *succession.Handing
		Trouble() *succession.Trouble
		Moving() (to, text string)
	}
	// Votes know what keeps a primary from acknowledging, or a secondary from taking over.
	Votes interface {
		Problem() string
		// GoesOn says what a primary that is sealed for the region to does to go on without it, "" where it cannot by
		// itself.
		GoesOn(to string) string
		// Outlook returns, at the leader of the primary, what is wrong with those who vote, and what is to happen by
		// itself.
		Outlook() (warnings, notes []string)
	}
	// Writes knows whether this node takes writes.
	Writes interface{ Open() bool }
	// Directory names the nodes of this region.
	Directory interface {
		Name(id uint64) string
		Addr(id uint64) (string, bool)
	}
)

// ReporterConfig is what a Reporter needs.
type ReporterConfig struct {
	Fleet      string
	Region     string
	Self       timeline.Member
	Level      timeline.Level // of the latest entries that the node understands
	Disk       recall.Own
	Clock      clock.Clock
	Life       *life.Life
	Applied    *region.Applied
	Leadership *region.Leadership
	Group      Group
	Log        Log
	Slots      Slots
	Follower   Follower
	Governor   Governor
	Losses     Losses
	Votes      Votes // nil: none are taken
	// Forming tells whether this node is about to begin the first epoch of a new fleet. It is asked before the state is
	// looked at: what is not about to begin any more has begun by then.
	Forming func() bool
	// Formed returns with which disks the region was formed, nil if this node does not know.
	Formed func() map[uint64]string
	// Witnesses returns what is remembered of the directories of witnesses.
	Witnesses func() map[string][]fleet.Word
	Late      Late
	// Configured are the other regions by the configuration of the node.
	Configured []string
	// OnAsked is told where a node of another region that asked says it is. May be nil.
	OnAsked   func(region string, m timeline.Member)
	Writes    Writes
	Directory Directory
	// StateAwaited says what state of another node this one waits for before it applies anything more. May be nil.
	StateAwaited func() string
	// Takes tells how far the copy is that this node takes, nil if it takes none. May be nil.
	Takes func() *contract.Transfer
	// HeldBack says, at the leader of the primary, how writes are held back there, "" if they are not. May be nil.
	HeldBack func() string
}

// Late tells how late the region shows its history.
type Late interface {
	// Status is nil where the region shows what it has.
	Status() *fleet.Late
	// ByOrderAlone reports whether the region shows its history late, or is to.
	ByOrderAlone() bool
}

// Reporter tells how this node and its region are. It is safe for concurrent use.
type Reporter struct{ config ReporterConfig }

// NewReporter returns a Reporter.
func NewReporter(c ReporterConfig) *Reporter { return &Reporter{c} }

// Register registers what this room answers.
func (r *Reporter) Register(to *peer.Registry) {
	peer.Handle(to, AskReport, peer.Anyone, func(ctx context.Context, a Asker) (fleet.Report, error) {
		if r.config.OnAsked != nil && a.Region != r.config.Region && a.isOf(ctx) {
			r.config.OnAsked(a.Region, a.Member)
		}
		return r.Report(), nil
	})
}

// isOf reports whether it may be a itself that asks: nobody else is believed where it is.
func (a Asker) isOf(ctx context.Context) bool {
	region, node, known := peer.CallerOf(ctx)
	return !known || region == a.Region && node == a.Member.Name
}

// Report returns what this node says of itself to other nodes.
func (r *Reporter) Report() fleet.Report {
	c := &r.config
	forming := c.Forming()
	led, leads := c.Leadership.Term() // before the state, which has everything then
	v := c.Applied.View()
	s := &v.State
	leader, term := c.Group.Leader()
	out := fleet.Report{
		Fleet: c.Fleet, Region: c.Region, Node: c.Self.Name, ID: c.Self.ID, PeerAddr: c.Self.PeerAddr,
		Starts:     c.Self.Starts,
		ClientURLs: c.Self.ClientURLs,
		Leader:     leads, Index: v.Index, Role: s.Role(), Writable: s.Writable(), Sealed: s.Seal, Cursor: s.Cursor,
		Claim: s.HighestClaim(), Reigns: s.Reigns, Diverged: s.Diverged != nil, Members: s.Members,
		Slots: c.Slots.Now(),
		Disk:  c.Disk.ID, Boot: c.Disk.Boot, Seal: c.Disk.Seal(v.Index),
		Level: c.Level,
		Nodes: r.nodes(s.Conf), TakesWrites: new(bool), Voting: fleet.VotingOf(s), Late: c.Late.Status(),
		OrderOnly: c.Late.ByOrderAlone(), Forming: forming, Roster: s.Roster, Witnesses: c.Witnesses(),
		Configured: c.Configured, Formed: c.Formed(),
	}
	if _, started := c.Life.Started(); !started {
		return out
	}
	if out.LeaderID, out.Term = leader, term; leads { // of who leads by now it tells the next time
		out.LeaderID, out.Term = c.Self.ID, led
	}
	at, ever := c.Group.Heard()
	out.LeaderAgeSeconds, out.Led = Age(at, c.Clock.Now()), &ever
	out.DiskStalledSeconds, out.DiskFullSeconds = c.Group.DiskStalled().Seconds(), c.Group.DiskFull().Seconds()
	out.Kept = c.Group.Kept()
	if c.StateAwaited != nil {
		out.Awaits = c.StateAwaited()
	}
	if c.Takes != nil {
		out.Transfer = c.Takes()
	}
	out.LogBytes = c.Log.Bytes()
	out.Following = c.Follower.Following()
	if leads {
		*out.TakesWrites = c.Writes.Open()
		out.Problem = r.Problem()
		out.MovingTo, out.Moving = c.Governor.Moving()
		out.Unlike = c.Losses.Unlike()
		out.Warnings, out.Notes = r.outlook()
	}
	return out
}

// outlook returns what this leader warns of, the worst first, and what is to happen by itself.
func (r *Reporter) outlook() (warnings, notes []string) {
	c := &r.config
	if c.Votes != nil {
		warnings, notes = c.Votes.Outlook()
	}
	if c.HeldBack != nil {
		if text := c.HeldBack(); text != "" {
			warnings = slices.Insert(warnings, 0, text)
		}
	}
	return warnings, notes
}

// Age returns the seconds from at to now, nil if at is zero.
func Age(at, now time.Time) *float64 {
	if at.IsZero() {
		return nil
	}
	return new(max(now.Sub(at).Seconds(), 0))
}

// nodes returns the voters and learners of an encoded configuration, as far as it can be read.
func (r *Reporter) nodes(encoded []byte) []fleet.Node {
	conf := &raftpb.ConfState{}
	if err := proto.Unmarshal(encoded, conf); err != nil {
		return nil
	}
	var list []fleet.Node
	for _, id := range slices.Concat(conf.GetVoters(), conf.GetLearners()) {
		n := fleet.Node{ID: id, Name: r.config.Directory.Name(id), Learner: slices.Contains(conf.GetLearners(), id)}
		n.PeerAddr, _ = r.config.Directory.Addr(id)
		list = append(list, n)
	}
	return list
}

// Problem returns what keeps this leader's region from its work although it leads, "" if nothing is known to.
func (r *Reporter) Problem() string {
	if loss := r.config.Losses.Loss(); loss != nil {
		return loss.Error()
	}
	if t := r.config.Governor.Trouble(); t != nil {
		return t.What + ": " + t.Detail
	}
	h := r.config.Governor.Handing()
	if h == nil || h.Silence == "" {
		if r.config.Votes != nil {
			return r.config.Votes.Problem()
		}
		return ""
	}
	since := r.config.Clock.Now().Add(-h.For).UTC().Format(time.RFC3339)
	next := fmt.Sprintf("if %s is lost for good: mimir failover --to %s --force", h.Seal.To, r.config.Region)
	if r.config.Votes != nil {
		next = cmp.Or(r.config.Votes.GoesOn(h.Seal.To), next)
	}
	return fmt.Sprintf("sealed for a handoff to %s since %s, %s does not answer: %s; %s", h.Seal.To, since, h.Seal.To,
		h.Silence, next)
}
