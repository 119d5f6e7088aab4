package replication

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/internal/throttle"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Config is everything a node must be told. Zero values of optional fields mean the defaults given with them.
type Config struct {
	// NodeID is the node's name, unique in the fleet.
	NodeID string
	// RegionID is the region's name.
	RegionID string
	// FleetID keeps unrelated fleets apart: nodes of different fleets refuse each other. Default DefaultFleetID.
	FleetID string

	// DataDir holds the log, the identity, staged checkpoints and rescue files. Created if missing.
	DataDir string
	// FS is the filesystem of DataDir. Default: durable.OS, the machine's; durable/pebblefs makes one of Pebble's.
	FS durable.FS
	// Clock is the node's clock. Default: the machine's.
	Clock clock.Clock
	// Logger receives one event a line. Default: slog.Default().
	Logger *slog.Logger

	// PeerAddr is the address at which other nodes reach this one. It may be another one at every start.
	PeerAddr string
	// ClientURLs are published to the region for clients; opaque here.
	ClientURLs []string
	// Nodes are the voters, this node included, with which the region is first formed: NodeID to peer address. Equal
	// on all of them; 1, 3, 5 or 7. It is formed once all of them run and have said that their disks are empty: one
	// that does not answer may hold what the region acknowledged. A majority is enough on the first day of a fleet of
	// several regions, without FleetExists, and by order (FormRegion). Afterwards membership is state of the region,
	// and changed at run time, and the addresses are where to look for the nodes first: they may be others than before.
	Nodes map[string]string
	// Join says that this node is added to a region that exists: it waits to be added as a learner or voter. Nodes
	// then holds some or all of the members that the region has; this node may be left out.
	Join bool

	// Regions are the other regions: name to peer addresses of some or all of its nodes. They count until the fleet has
	// a roster (Topology); then that does, for a region that was among them with the addresses here.
	Regions map[string][]string
	// InitialPrimary is the region that begins the first epoch of a new fleet, once the leader of every other region
	// has said that it has no history; before that only by Failover to it, with force. Equal everywhere. Default: this
	// region, if it is the only one.
	InitialPrimary string
	// FleetExists says that no region begins the first epoch of a new fleet by itself, whatever InitialPrimary says: a
	// region without a history waits for one that has it. A new fleet is formed by an order, Found. For a region alone,
	// a whole region that comes back without its disks then waits, too.
	FleetExists bool

	// Votes is the charter of a fleet that has none yet: once every node of every region understands it, regions and
	// witnesses vote about who is primary, and the primary moves by itself. Nil: it is moved by hand, until somebody
	// orders Voting.Enable. Afterwards the charter is state of the fleet, and this is not looked at.
	Votes *VoteSettings
	// Priority is this region's when the charter is written: of two regions that are equally far the one with the
	// higher becomes primary. Default DefaultPriority; NeverPrimary, or 1 to 255.
	Priority int

	// ApplyDelay is how old the history is that this node's region shows while it is a secondary: its log has all of it
	// at once, and counts for what is durable; its storages get a command when that is as old, by the clock of the
	// region's leader. Linearizable reads are ErrDelayed there. It becomes primary by order alone, shows everything
	// first, and can be made to begin at a point in what it does not show yet (FailoverAt). Equal on all nodes of the
	// region: that of its leader counts. Default 0: no delay.
	ApplyDelay time.Duration
	// DelayBytes bounds the history that is not shown because of ApplyDelay: beyond it the oldest is shown early, and
	// status says so. That much log is on the disk of each node. Default DefaultDelayBytes.
	DelayBytes int64
	// Revision returns what the embedder counts of its own, for a Point: a command raises it by one at most, and only
	// the beginning of a reign by more. May be nil.
	Revision func() int64

	// TickInterval is the unit of Raft time. Default DefaultTickInterval.
	TickInterval time.Duration
	// ElectionTicks is how many ticks without a leader start an election. Default DefaultElectionTicks; at least
	// MinElectionTicks.
	ElectionTicks int
	// SegmentBytes is the size of a log segment. Default DefaultSegmentBytes; MinSegmentBytes to
	// MaxSegmentBytes.
	SegmentBytes int64
	// RetainBytes is how far back a tail can be saved as commands, and how much log is kept for a slow or absent
	// secondary before it has to bootstrap. Default DefaultRetainBytes.
	RetainBytes int64
	// CopyRetainBytes is how much log is kept behind a copy of the state that a region takes, until it has caught up
	// or was silent for ten minutes: what is written meanwhile must fit, or the region needs another copy. It is not
	// in addition to RetainBytes: the larger one of those in force bounds the log. Default twice RetainBytes and at
	// least DefaultCopyRetainBytes; never less than RetainBytes.
	CopyRetainBytes int64
	// CheckpointBytes is how much log is written between two checkpoints that a node keeps of its own state, at most
	// three: a region whose history has a fork goes back to the newest one before it, and needs no copy of the whole
	// state from another region. The storage has to be a Brancher. Log is kept from the oldest one on, as far as
	// RetainBytes goes. Default DefaultCheckpointBytes; negative for none.
	CheckpointBytes int64
	// CheckpointSpareBytes is what the disk has to have free while there are such checkpoints: they are the first that
	// gives way. Default twice CheckpointBytes.
	CheckpointSpareBytes int64
	// CompactBytes is how much log is written between two attempts to release log. Default
	// DefaultCompactBytes.
	CompactBytes int64
	// MaxFrameBytes is where a batch of waiting commands is closed. Default DefaultMaxFrameBytes; at most
	// FrameBytesLimit.
	MaxFrameBytes int
	// MaxCommandBytes bounds one Propose. Default DefaultMaxCommandBytes; at most CommandBytesLimit.
	MaxCommandBytes int
	// MaxInflightBytes bounds the commands proposed but not yet applied; beyond it Propose waits. Default
	// DefaultMaxInflightBytes.
	MaxInflightBytes int64
	// StreamWindowBytes bounds what is on its way to a secondary. Default DefaultStreamWindowBytes.
	StreamWindowBytes int64
	// RegionRate returns how many bytes a second this node sends to another region at most, at this moment by the
	// clock. Each node holds itself to it. It is called often, and must not block. Default, nil: no bound.
	RegionRate func(region string, now time.Time) RegionRate

	// LagGate returns how far the other regions may be behind before writes are slowed down, and refused, at this
	// moment, on the leader of the primary region. Equal on all nodes. It is called often, and must not block. Default,
	// nil: nothing bounds it.
	LagGate func() LagGate

	// EntryLevel makes this node one of an earlier version, as far as its log goes: it says so to the others, proposes
	// nothing later, and stops at an entry or a state that is later. It is for tests of fleets in which versions are
	// mixed. Default, nil: timeline.LevelNow.
	EntryLevel *timeline.Level

	// CommandLevel says which nodes can apply a command as others do: those of a level at least so high. Nodes below
	// stop at it, and say so. It is a function of the command alone. Default, nil: all can.
	CommandLevel func(command []byte) timeline.Level
	// OnAsk answers Ask on the leader of the primary region. An answer is given only if this node was that leader, in
	// one tenure, from before OnAsk was called until after it returned. An error that is ErrNotReady or ErrNotLeader
	// has the question asked again; whoever asked gets any other as ErrRejected, with its text. It may write and read;
	// it must not wait for a Shutdown, which waits for it. May be nil.
	OnAsk func(ctx context.Context, request []byte) ([]byte, error)
	// Differs reports whether a node of this region, by its MemberID, is known to hold something else than the region.
	// Then it gives nobody a copy of its state, and leads nothing, unless there is no other node that votes, or for a
	// while none of those can lead; and as soon as one can it hands leadership over. It follows, votes, and passes on
	// its log, whose entries are checked by themselves. It is called often, also before Start has returned, and must
	// not block. May be nil: none does.
	Differs func(member uint64) bool
	// OnAskNode answers AskNode, of any node of the fleet. As OnAsk, it must not wait for a Shutdown. May be nil.
	OnAskNode func(ctx context.Context, request []byte) ([]byte, error)
	// OnLeadership is told, in order, when this node becomes or ceases to be the primary region's leader that takes
	// writes: a new tenure is told after the end of the one before it. It goes on while writes wait because no more may
	// be lost. It must not block. May be nil.
	OnLeadership func(primaryLeader bool)
	// OnEvent is told what was decided about the fleet, and what this node saw of it, in the order in which it did.
	// After a start it is told again what the state and the log remember: an Event with an ID may come more than once.
	// It is called by goroutines that hold up others, and must not block. May be nil.
	OnEvent func(Event)
	// Tracer is told of the parts of writes whose context has a traceparent (transport.WithTraceparent), on this node
	// and on the one to which it forwards them. A forwarded write in a trace has a stream of its own, as long as there
	// are not too many. May be nil, and then there are no traces.
	Tracer Tracer
}

// RegionRate is what a node sends to another region at most, in bytes a second: of copies of its state, and of the
// stream. Zero: as much as goes. Less than LeastRegionRate counts as that. Acknowledgements, questions and forwarded
// writes are not held, nor is what stays in a region.
type RegionRate struct{ Copy, Stream int64 }

// LagGate bounds how far other regions may be behind while the primary takes writes, so that no more is lost with it
// than that. Beyond Delay a batch waits for the one before it, up to a second; beyond Refuse no write is taken:
// ErrLagging. Moves of the primary, and what ends by its time, are not held back. What a failover loses is bounded
// exactly, in commands, by Votes.
type LagGate = laggate.Limits

// LagBound is how far a region may be behind: in bytes of log, and in time. A field that is zero bounds nothing.
type LagBound = laggate.Bound

// LeastRegionRate is the lowest bound of what a node sends to another region.
const LeastRegionRate = throttle.Least

// Defaults of a Config.
const (
	DefaultFleetID           = "mimir"
	DefaultPriority          = 100
	DefaultTickInterval      = 100 * time.Millisecond
	DefaultElectionTicks     = 10
	DefaultSegmentBytes      = 64 << 20
	DefaultRetainBytes       = 8 << 30
	DefaultCopyRetainBytes   = 1 << 30 // at least; see Config.CopyRetainBytes
	DefaultCheckpointBytes   = 64 << 20
	DefaultCompactBytes      = 64 << 20
	DefaultDelayBytes        = 8 << 30
	DefaultMaxFrameBytes     = 1 << 20
	DefaultMaxCommandBytes   = CommandBytesLimit
	DefaultMaxInflightBytes  = 64 << 20
	DefaultStreamWindowBytes = 32 << 20
)

// Limits of a Config.
const (
	NeverPrimary      = -1
	MinElectionTicks  = 3
	MinSegmentBytes   = wal.MinSegmentBytes
	MaxSegmentBytes   = wal.MaxSegmentBytes
	CommandBytesLimit = timeline.MaxCommandBytes // the most that MaxCommandBytes can be
	// the most that MaxFrameBytes can be: a frame fits one message between nodes
	FrameBytesLimit = 32 << 20
)

// copied returns a copy that shares nothing with c which whoever made c may change: no map, no slice, and nothing that
// is pointed to.
func (c Config) copied() Config {
	c.ClientURLs, c.Nodes, c.Regions = slices.Clone(c.ClientURLs), maps.Clone(c.Nodes), cloneLists(c.Regions)
	if c.Votes != nil {
		v := *c.Votes
		v.Witnesses = cloneLists(v.Witnesses)
		c.Votes = &v
	}
	if c.EntryLevel != nil {
		c.EntryLevel = new(*c.EntryLevel)
	}
	return c
}

func cloneLists(m map[string][]string) map[string][]string {
	m = maps.Clone(m)
	for name, list := range m {
		m[name] = slices.Clone(list)
	}
	return m
}

// withDefaults returns a copy of the configuration with every optional field filled in.
func (c Config) withDefaults() Config {
	c = c.copied()
	setDefault(&c.Priority, DefaultPriority)
	setDefault(&c.FleetID, DefaultFleetID)
	setDefault(&c.TickInterval, DefaultTickInterval)
	setDefault(&c.ElectionTicks, DefaultElectionTicks)
	setDefault(&c.SegmentBytes, DefaultSegmentBytes)
	setDefault(&c.RetainBytes, DefaultRetainBytes)
	setDefault(&c.CopyRetainBytes, max(2*c.RetainBytes, DefaultCopyRetainBytes))
	setDefault(&c.CheckpointBytes, DefaultCheckpointBytes)
	setDefault(&c.CheckpointSpareBytes, max(2*c.CheckpointBytes, 0))
	setDefault(&c.CompactBytes, DefaultCompactBytes)
	setDefault(&c.DelayBytes, DefaultDelayBytes)
	setDefault(&c.MaxFrameBytes, DefaultMaxFrameBytes)
	setDefault(&c.MaxInflightBytes, DefaultMaxInflightBytes)
	setDefault(&c.MaxCommandBytes, DefaultMaxCommandBytes)
	setDefault(&c.StreamWindowBytes, DefaultStreamWindowBytes)
	if len(c.Regions) == 0 {
		setDefault(&c.InitialPrimary, c.RegionID)
	}
	if c.FS == nil {
		c.FS = durable.OS
	}
	if c.EntryLevel == nil {
		c.EntryLevel = new(timeline.LevelNow)
	}
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// path returns a place in the data directory.
func (c *Config) path(name string) string { return filepath.Join(c.DataDir, name) }

// callTimeout bounds one question to another node: long enough for the other side of the world.
func (c *Config) callTimeout() time.Duration {
	return max(time.Second, c.TickInterval*time.Duration(c.ElectionTicks))
}

// fleetInterval is how often other regions are asked how they are.
func (c *Config) fleetInterval() time.Duration { return time.Second }

// Validate reports whether a node can be made of c, fields left out standing for their defaults. It touches nothing
// outside c. The error is ErrConfig and names the values that it refuses.
func (c *Config) Validate() error {
	if c == nil {
		return fmt.Errorf("%w: none given", ErrConfig)
	}
	full := c.withDefaults()
	for _, check := range []func(*Config) string{identityFault, nodesFault, regionsFault, sizesFault, timesFault} {
		if fault := check(&full); fault != "" {
			return fmt.Errorf("%w: %s", ErrConfig, fault)
		}
	}
	return nil
}

func identityFault(c *Config) string {
	if c.NodeID == "" || c.RegionID == "" || c.DataDir == "" || c.PeerAddr == "" {
		return fmt.Sprintf("NodeID %q, RegionID %q, DataDir %q and PeerAddr %q are required",
			c.NodeID, c.RegionID, c.DataDir, c.PeerAddr)
	}
	return ""
}

func nodesFault(c *Config) string {
	own, listed := c.Nodes[c.NodeID]
	switch {
	case !c.Join && !listed:
		return fmt.Sprintf("node %q is not among the nodes of region %q, %v", c.NodeID, c.RegionID,
			slices.Sorted(maps.Keys(c.Nodes)))
	case c.Join && len(c.Nodes) == 0:
		return "with Join, Nodes has to hold members that the region has: the node finds its region through them"
	case listed && own != c.PeerAddr:
		return fmt.Sprintf("Nodes has %q for node %q, whose PeerAddr is %q", own, c.NodeID, c.PeerAddr)
	case !c.Join && (len(c.Nodes)%2 == 0 || len(c.Nodes) > 7):
		return fmt.Sprintf("a region is formed by 1, 3, 5 or 7 voters, Nodes has %d; "+
			"a node of a region that was formed otherwise goes on with Join", len(c.Nodes))
	}
	return addressFault("node", c.Nodes)
}

// addressFault finds a name or an address that is empty, and an address that two nodes share.
func addressFault(what string, nodes map[string]string) string {
	holders := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		addr := nodes[name]
		if name == "" || addr == "" {
			return fmt.Sprintf("%s %q has the address %q", what, name, addr)
		}
		if other, taken := holders[addr]; taken {
			return fmt.Sprintf("%ss %q and %q have one address, %q", what, other, name, addr)
		}
		holders[addr] = name
	}
	return ""
}

func regionsFault(c *Config) string {
	if _, twice := c.Regions[c.RegionID]; twice {
		return fmt.Sprintf("region %q is this one, and among the others", c.RegionID)
	}
	if _, known := c.Regions[c.InitialPrimary]; !known && c.InitialPrimary != c.RegionID {
		return fmt.Sprintf("initial primary %q is not a region; known are %q and %q",
			c.InitialPrimary, c.RegionID, slices.Sorted(maps.Keys(c.Regions)))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Regions)) {
		if addrs := c.Regions[name]; name == "" || len(addrs) == 0 || slices.Contains(addrs, "") {
			return fmt.Sprintf("region %q has the addresses %q", name, addrs)
		}
	}
	return ""
}

func sizesFault(c *Config) string {
	for _, f := range []struct {
		name  string
		value int64
		least int64
		most  int64 // zero: no bound
	}{
		{"SegmentBytes", c.SegmentBytes, MinSegmentBytes, MaxSegmentBytes},
		{"RetainBytes", c.RetainBytes, 1, 0},
		{"CopyRetainBytes", c.CopyRetainBytes, 1, 0},
		{"CompactBytes", c.CompactBytes, 1, 0},
		{"MaxFrameBytes", int64(c.MaxFrameBytes), 1, FrameBytesLimit},
		{"MaxCommandBytes", int64(c.MaxCommandBytes), 1, CommandBytesLimit},
		{"MaxInflightBytes", c.MaxInflightBytes, 1, 0},
		{"StreamWindowBytes", c.StreamWindowBytes, 1, 0},
	} {
		if f.value < f.least {
			return fmt.Sprintf("%s is %d, at least %d is needed", f.name, f.value, f.least)
		}
		if f.most != 0 && f.value > f.most {
			return fmt.Sprintf("%s is %d, at most %d is possible", f.name, f.value, f.most)
		}
	}
	if l := *c.EntryLevel; l < timeline.LevelFirst || l > timeline.LevelNow {
		return fmt.Sprintf("EntryLevel is %d, known are %d to %d", l, timeline.LevelFirst, timeline.LevelNow)
	}
	if c.CopyRetainBytes < c.RetainBytes {
		return fmt.Sprintf("CopyRetainBytes %d is less than RetainBytes %d", c.CopyRetainBytes, c.RetainBytes)
	}
	if c.MaxInflightBytes < int64(c.MaxFrameBytes) {
		return fmt.Sprintf("MaxInflightBytes %d is less than MaxFrameBytes %d", c.MaxInflightBytes, c.MaxFrameBytes)
	}
	return ""
}

func timesFault(c *Config) string {
	if c.TickInterval <= 0 || c.ElectionTicks < MinElectionTicks {
		return fmt.Sprintf("TickInterval %v must be positive, ElectionTicks %d at least %d",
			c.TickInterval, c.ElectionTicks, MinElectionTicks)
	}
	if c.Priority < NeverPrimary || c.Priority == 0 || c.Priority > 255 {
		return fmt.Sprintf("Priority %d is not NeverPrimary (%d) nor 1 to 255", c.Priority, NeverPrimary)
	}
	return votesFault(c.Votes)
}

// maxLease bounds what an operator may ask for: a primary that is lost is not followed before, and no order hastens it.
const maxLease = time.Hour

// maxLoss bounds a budget that is one: a number below zero that somebody made positive is none.
const maxLoss = math.MaxInt32

const day = 24 * time.Hour

// votesFault finds what cannot be a charter, whoever votes.
func votesFault(s *VoteSettings) string {
	if s == nil {
		return ""
	}
	if s.Lease < timeline.MinLease || s.Lease > maxLease || s.Patience < 0 || s.Patience > maxLease ||
		s.DriftPPM > timeline.MaxDriftPPM {
		return fmt.Sprintf("Votes: lease %v (%v to %v), patience %v (at most %v), drift %d ppm (at most %d)", s.Lease,
			timeline.MinLease, maxLease, s.Patience, maxLease, s.DriftPPM, timeline.MaxDriftPPM)
	}
	if s.MaxLoss > maxLoss && s.MaxLoss != AnyLoss {
		return fmt.Sprintf("Votes: a loss of %d (at most %d, or any)", s.MaxLoss, maxLoss)
	}
	for name, addrs := range s.Witnesses {
		if name == "" || len(addrs) == 0 || slices.Contains(addrs, "") {
			return fmt.Sprintf("Votes: witness %q has the addresses %q", name, addrs)
		}
	}
	return ""
}

// changeFault finds what cannot be changed, whatever the charter is.
func changeFault(c *VoteChange) string {
	s := DefaultVotes()
	if c.Lease != nil {
		s.Lease = *c.Lease
	}
	if c.Patience != nil {
		s.Patience = *c.Patience
	}
	if c.MaxLoss != nil {
		s.MaxLoss = *c.MaxLoss
	}
	if c.Witness != "" || len(c.Addrs) > 0 {
		s.Witnesses = map[string][]string{c.Witness: c.Addrs}
	}
	switch fault := votesFault(&s); {
	case fault != "":
		return fault
	case c.FlapWithin != nil && (*c.FlapWithin < time.Second || *c.FlapWithin > day):
		return fmt.Sprintf("Votes: moves are counted within %v (1s to %v)", *c.FlapWithin, day)
	case c.Failback != nil && (*c.Failback < 0 || *c.Failback > day):
		return fmt.Sprintf("Votes: failback after %v (at most %v)", *c.Failback, day)
	case c.Add != "" && c.Witness != "":
		return "Votes: a region and a witness cannot be added at once"
	case c.Empty():
		return "Votes: nothing is to change"
	default:
		return ""
	}
}
