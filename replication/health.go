package replication

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// State is how far a node is in its life.
type State string

// States of a node.
const (
	// StateInitializing is a node that was made and that Start has not yet brought up.
	StateInitializing State = "initializing"
	// StateReady is a node that serves.
	StateReady State = "ready"
	// StateClosed is a node that was shut down, or that stopped itself: Problem says why.
	StateClosed State = "closed"
)

// HealthStatus is one node's picture of itself, its region and the other regions. What is not known is zero; Problem
// says why.
type HealthStatus struct {
	Mode   ReplicationMode `json:"mode"`
	NodeID string          `json:"node"`
	Region string          `json:"region"`
	State  State           `json:"state"`
	RaftID uint64          `json:"raftID"`
	// Healthy says that this node is ready, its region has a leader and may act, and its history is the fleet's. It
	// does not say that the primary can be reached from a secondary: see Peers and Lag.
	Healthy bool   `json:"healthy"`
	Problem string `json:"problem,omitempty"` // why it is not healthy

	// IsLeader and the leader of the region are false, "" and zero while this node has not heard a leader, or, if it
	// leads, a majority, for longer than the election time: then it does not know. LeaderAgeSeconds is for how long it
	// has not, negative if it never has since it started.
	IsLeader         bool    `json:"leader"`
	LeaderID         string  `json:"leaderID"`
	LeaderAddr       string  `json:"leaderAddr"`
	LeaderRaftID     uint64  `json:"leaderRaftID"`
	LeaderAgeSeconds float64 `json:"leaderAgeSeconds"`

	Term         uint64 `json:"term"`
	CommitIndex  uint64 `json:"commitIndex"`
	AppliedIndex uint64 `json:"appliedIndex"`

	// LeaderChanges is how often this node came to know a leader of its region that it had not known before, since it
	// started: the first one, and the same one again after there was none, count too.
	LeaderChanges uint64 `json:"leaderChanges,omitempty"`
	// ProposalsPending is how many writes that were asked of this node wait for their outcome. ProposalsFailed is how
	// many had none but an error since it started; what was refused for what it is, and not tried, is not among them.
	ProposalsPending int64  `json:"proposalsPending,omitempty"`
	ProposalsFailed  uint64 `json:"proposalsFailed,omitempty"`

	Role     Role     `json:"role"`
	Primary  string   `json:"primary"` // the region believed to be primary
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	Chain    string   `json:"chain"` // hexadecimal, whole
	Sealed   bool     `json:"sealed"`
	Lag      Lag      `json:"lag"` // zero at the primary; unknown where no leader is
	// Late says how late this node shows the history, on purpose; nil: it shows what it has, up to Position.
	Late *Late `json:"late,omitempty"`
	// Transfer is the copy of a whole state that this node takes, and Bootstrap that which its region does, known to
	// its leader alone: of the phase in which siblings take it they tell the bytes. Nil: none.
	Transfer  *Transfer  `json:"transfer,omitempty"`
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`

	Peers []PeerStatus `json:"peers,omitempty"` // every other region, by name
	Slots []SlotStatus `json:"slots,omitempty"`
	// Votes is who votes about the primary, nil where it is moved by hand.
	Votes *VoteStatus  `json:"votes,omitempty"`
	Nodes []NodeStatus `json:"nodes"`
	// Held is to which other regions what this node sends is held to a rate, or was.
	Held []HeldStatus `json:"held,omitempty"`
	// Gate is what the lag gate does with writes, at the leader of the primary region; nil: they are not held back.
	Gate     *GateStatus `json:"gate,omitempty"`
	LogBytes int64       `json:"logBytes"`
	// DiskStalled is for how long the disk has not finished a write of the log, zero unless that is long: then this
	// node leads nobody who can do without it, and what is asked of it waits.
	DiskStalled time.Duration `json:"diskStalledNanos,omitempty"`
	// DiskFull is for how long the log, or what has to be saved before the node goes on, has found no room on the disk,
	// zero if it has: nothing that waits for it is answered, and it goes on by itself.
	DiskFull time.Duration `json:"diskFullNanos,omitempty"`
	Uptime   time.Duration `json:"uptimeNanos"`
}

// HeldStatus is what is held to a rate of what this node sends to another region.
type HeldStatus struct {
	Region string `json:"region"`
	Of     string `json:"of"` // what: copy, stream
	// BytesPerSecond is the rate at this moment, zero if there is none.
	BytesPerSecond int64 `json:"bytesPerSecond"`
	// HeldSeconds is for how long something waited for it, since this node started.
	HeldSeconds float64 `json:"heldSeconds"`
}

// GateStatus is what the lag gate does with writes.
type GateStatus struct {
	Refuses bool `json:"refuses"` // no write is taken
	// DelaySeconds is for how long a batch waits for the one before it, zero if writes are refused.
	DelaySeconds float64 `json:"delaySeconds"`
	Why          string  `json:"why"`
}

// gateStatus returns nil while writes are not held back.
func gateStatus(v laggate.Verdict) *GateStatus {
	if v.Why == "" {
		return nil
	}
	return &GateStatus{Refuses: v.Refuse != nil, DelaySeconds: v.Delay.Seconds(), Why: v.Why}
}

// Warning says what the gate does with the writes of a node of a region, and what an operator can do about it.
func (g *GateStatus) Warning(node, region string) string {
	does := "refuses writes"
	if !g.Refuses {
		delay := time.Duration(g.DelaySeconds * float64(time.Second)).Round(time.Millisecond)
		does = fmt.Sprintf("takes a batch of writes every %s at most", delay)
	}
	return fmt.Sprintf("node %s %s by its lag gate: %s. To take writes that only this region has, raise lag-gate on "+
		"the nodes of region %s, or set it to 0, and have them read it (SIGHUP)", node, does, g.Why, region)
}

// heldBack is what a node warns the fleet of while its gate holds writes back, "" while it does not.
func heldBack(n *node) string {
	g := gateStatus(n.gate.Verdict())
	if g == nil {
		return ""
	}
	return g.Warning(n.config.NodeID, n.config.RegionID)
}

// PeerStatus is another region as this node last heard of it.
type PeerStatus struct {
	ID string `json:"id"` // the region's name
	// Address is where the region is reached: its leader, or the first address that is configured.
	Address string `json:"address"`
	// Healthy says that the region's leader answered in the last round, about a second ago, and that its history is
	// the fleet's.
	Healthy  bool     `json:"healthy"`
	Problem  string   `json:"problem,omitempty"` // why it is not healthy
	Role     Role     `json:"role"`              // "" if nobody answered
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	// AgeSeconds is how old that is; negative if nobody answered.
	AgeSeconds float64 `json:"ageSeconds"`
	// Lag is what the region says it is behind the primary; zero for the primary, Seconds negative if it is not known.
	Lag Lag `json:"lag"`
	// LastHeard is what the region was when a node of it last answered, if none does now. Then Role, Epoch and
	// Position say nothing.
	LastHeard *LastHeard `json:"lastHeard,omitempty"`
	// SilentSeconds is for how long no leader of the region answered that hears a majority, of the time in which this
	// node asked: zero if one did in the last round. If none ever did it counts from the first question.
	SilentSeconds float64 `json:"silentSeconds,omitempty"`
}

// health makes the picture that Health returns. It reads what other goroutines keep, and asks nobody.
func (n *node) health() *HealthStatus {
	h := &HealthStatus{
		Mode: n.mode, NodeID: n.config.NodeID, Region: n.config.RegionID, RaftID: n.id, State: StateReady,
		Lag: Lag{Seconds: -1}, LeaderAgeSeconds: -1,
	}
	if err := n.life.Err(); err != nil {
		h.State, h.Problem = StateInitializing, err.Error()
		if n.life.Failure() != nil {
			h.State = StateClosed
		}
		return h
	}
	started, _ := n.life.Started()
	h.Uptime = n.config.Clock.Now().Sub(started)
	status := n.group.Glimpse()
	cutOff := healthOfLeader(h, n, status)
	h.Term, h.CommitIndex, h.LogBytes = status.Term, status.Commit, n.log.Bytes()
	h.LeaderChanges = status.Leaders
	h.ProposalsPending, h.ProposalsFailed = n.writes.pending.Load(), n.writes.failed.Load()
	h.DiskStalled, h.DiskFull = status.DiskStalled, status.DiskFull
	n.healthOfHistory(h)
	h.Slots, h.Gate = n.slotStatuses(h), gateStatus(n.gate.Verdict())
	h.Held = n.caps.status(n.roster.Others())
	h.Votes = n.votes.Status()
	h.Nodes = n.members.List()
	for i := range h.Nodes {
		h.Nodes[i].Leader = h.Nodes[i].ID == h.LeaderRaftID
	}
	h.Peers = peerStatuses(&n.config, n.roster.Others(), n.fleetView())
	h.Problem = n.reporter.Problem()
	awaits := awaited(n)
	switch waits := n.forming.Problem(); {
	case waits != "":
		h.Problem = waits
	case status.Kept != "":
		h.Problem = status.Kept
	case cutOff != "":
		h.Problem = cutOff
	case h.Problem == "" && h.Role == RoleDiverged:
		h.Problem = "history diverged; rejoining"
	case h.DiskFull > 0:
		h.Problem = fmt.Sprintf("the disk is full: what the node has to write has found no room for %v; it goes on "+
			"once there is room", h.DiskFull)
	case h.DiskStalled > 0:
		h.Problem = fmt.Sprintf("the disk has not finished a write for %v", h.DiskStalled)
	case awaits != "":
		h.Problem = "applies nothing: it " + awaits
	default:
		h.Healthy = h.Problem == ""
	}
	return h
}

// healthOfLeader fills in who leads, if that was heard within the election time, and returns what to say if it was not.
func healthOfLeader(h *HealthStatus, n *node, status raftgroup.Status) (cutOff string) {
	at, lately := n.group.Heard()
	h.LeaderAgeSeconds = -1
	if age := overview.Age(at, n.config.Clock.Now()); age != nil {
		h.LeaderAgeSeconds = *age
	}
	switch name := n.directory.Name(status.Leader); {
	case status.Leader != 0 && lately:
		h.IsLeader, h.LeaderRaftID, h.LeaderID = n.leadership.Leads(), status.Leader, name
		h.LeaderAddr, _ = n.directory.Addr(status.Leader)
		return ""
	case at.IsZero():
		return "no leader was heard since the node started"
	case status.Leader == 0:
		return fmt.Sprintf("no leader; the last one was heard %.1f s ago", h.LeaderAgeSeconds)
	case status.IsLeader:
		return fmt.Sprintf("it led the region, and heard no majority for %.1f s", h.LeaderAgeSeconds)
	default:
		return fmt.Sprintf("cut off: the leader %s was not heard for %.1f s", name, h.LeaderAgeSeconds)
	}
}

func (n *node) fleetView() fleet.View {
	v, _ := n.fleet.View()
	return v
}

// healthOfHistory fills in where this region is.
func (n *node) healthOfHistory(h *HealthStatus) {
	v := n.applied.View()
	s := &v.State
	h.AppliedIndex = v.Index
	h.Role, h.Epoch, h.Position = Role(s.Role()), s.Cursor.Epoch, s.Cursor.Position
	h.Chain, h.Sealed = hex.EncodeToString(s.Cursor.Chain[:]), s.Seal != nil
	h.Primary = n.fleetView().Claim(s.HighestClaim()).Primary
	h.Late = overview.LateOf(n.delay.Status())
	h.Transfer = n.staging.Transfer()
	n.healthLag(h)
}

// peerStatuses describes the other regions by what was last heard of them.
func peerStatuses(c *Config, others map[string][]string, view fleet.View) []PeerStatus {
	lately := c.fleetInterval() + 2*c.callTimeout() // a round waits for the slowest
	cycle := c.fleetInterval() + c.callTimeout()
	list := make([]PeerStatus, 0, len(others))
	for _, name := range slices.Sorted(maps.Keys(others)) {
		r, now := view.Regions[name], c.Clock.Now()
		p := peerStatus(name, others[name], r, now, lately)
		p.SilentSeconds = r.SilentFor(now, cycle).Seconds()
		list = append(list, p)
	}
	return list
}

func peerStatus(name string, addrs []string, r fleet.Region, now time.Time, lately time.Duration) PeerStatus {
	p := PeerStatus{ID: name, Address: addrs[0], Lag: Lag{Seconds: -1}, AgeSeconds: -1}
	said := r.Leader()
	switch {
	case r.Tries > 0 && now.Sub(r.Asked) > lately: // this process stood still
		p.Problem = fmt.Sprintf("not asked for %.0f s", now.Sub(r.Asked).Seconds())
		p.LastHeard = overview.Last(r.Last, now)
		return p
	case said != nil && said.Role == timeline.Diverged:
		p.Problem = "history diverged; rejoining"
	case said != nil:
		p.Healthy = true
	case r.Tries == 0:
		p.Problem = "not asked yet"
		return p
	default:
		p.Problem = "no leader answers"
		if said = r.Furthest(); said == nil {
			if r.Err != nil {
				p.Problem = "no node answers: " + r.Err.Error()
			}
			p.LastHeard = overview.Last(r.Last, now)
			return p
		}
		p.Problem += "; this is what " + said.Node + " has, which may be behind"
	}
	p.Address, p.Role, p.Epoch, p.Position = said.Asked, Role(said.Role), said.Cursor.Epoch, said.Cursor.Position
	p.AgeSeconds = now.Sub(said.At).Seconds()
	if p.Healthy && said.CutOff() {
		p.Healthy, p.Problem = false, "its leader "+said.Node+" hears no majority"
	}
	if f := said.Following; p.Role == RolePrimary {
		if p.Healthy {
			p.Lag = Lag{}
		}
	} else if f != nil {
		p.Lag = Lag{Commands: f.LagCommands, Bytes: f.LagBytes, Seconds: f.LagSeconds, AtLeast: f.AtLeast}
	}
	return p
}

// otherMembers lists the nodes of other regions.
func otherMembers(v fleet.View) (list []NodeStatus) {
	for _, name := range slices.Sorted(maps.Keys(v.Regions)) {
		r := v.Regions[name]
		if r.Last == nil {
			continue
		}
		for _, m := range r.Last.Members {
			answered := slices.ContainsFunc(r.Nodes, func(h fleet.Heard) bool { return h.ID == m.ID })
			list = append(list, NodeStatus{
				ID: m.ID, Name: m.Name, Region: name, PeerAddr: m.PeerAddr, ClientURLs: m.ClientURLs,
				Leader: answered && r.Last.LeaderID == m.ID, Learner: m.Learner, Reachable: answered,
			})
		}
	}
	return list
}

// healthLag fills in what this region is behind. Only the leader of a secondary follows the stream and knows the time;
// other nodes report what the fleet's picture says, without a bound in seconds. Who knows no leader does not know what
// the region has, nor whether it is still primary.
func (n *node) healthLag(h *HealthStatus) {
	if h.Role == RolePrimary && h.Primary == h.Region && h.LeaderRaftID != 0 {
		h.Lag = Lag{}
		return
	}
	h.Lag.AtLeast = true
	if f := n.follower.Following(); f != nil && h.IsLeader {
		h.Bootstrap = f.Bootstrap
		h.Lag = Lag{Commands: f.LagCommands, Bytes: f.LagBytes, Seconds: f.LagSeconds, AtLeast: f.AtLeast}
	}
	if p := n.governor.LastHeard(h.Primary); p > h.Position {
		h.Lag.Commands = max(h.Lag.Commands, uint64(p-h.Position))
	}
}

// slotStatuses describes the secondaries: those whose stream this node serves with their lag, the others by what is
// acknowledged. What is measured against this node's own position is a bound only where that covers everything
// acknowledged: at the leader of the primary.
func (n *node) slotStatuses(h *HealthStatus) []SlotStatus {
	position, covers := h.Position, h.IsLeader && h.Role == RolePrimary && h.Primary == h.Region
	var list []SlotStatus
	for _, s := range n.slots.Now() {
		o := SlotStatus{Region: s.Region, Position: s.Position, Lost: s.Lost, Lag: Lag{Seconds: -1, AtLeast: !covers}}
		if position > s.Position {
			o.Lag.Commands = uint64(position - s.Position)
		}
		list = append(list, o)
	}
	for _, live := range n.source.Slots() {
		i := slices.IndexFunc(list, func(o SlotStatus) bool { return o.Region == live.Region })
		if i < 0 {
			i, list = len(list), append(list, SlotStatus{Region: live.Region})
		}
		lag := Lag{
			Commands: live.Lag.Commands, Bytes: live.Lag.Bytes, Seconds: live.Lag.Seconds, AtLeast: !covers,
		}
		if !live.Lag.Known || !covers {
			lag.Seconds = -1
		}
		list[i].Position, list[i].Lag, list[i].Connected = max(list[i].Position, live.Acknowledged), lag, true
	}
	slices.SortFunc(list, func(a, b SlotStatus) int { return strings.Compare(a.Region, b.Region) })
	return list
}

// fleetStatus asks every node of every region, and returns the picture.
func (n *node) fleetStatus(ctx context.Context) *FleetStatus {
	if ctx == nil {
		ctx = n.life.Context() // each question is bounded anyway
	}
	if err := n.life.Err(); err != nil {
		return &FleetStatus{
			Fleet: n.config.FleetID, Asked: n.config.NodeID, TakeWrites: []string{},
			Warnings: []string{n.config.NodeID + ", which was asked, knows nothing: " + err.Error()},
		}
	}
	return n.survey.Fleet(ctx)
}

// isPrimary reports whether this region is the primary, as far as is known here.
func (n *node) isPrimary() bool { return n.serves() && n.standing.Primary() }
