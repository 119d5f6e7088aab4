package replication

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
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

	// PeerAddr is the address at which other nodes reach this one.
	PeerAddr string
	// ClientURLs are published to the region for clients; opaque here.
	ClientURLs []string
	// Nodes are the voters, this node included, with which the region is first formed: NodeID to peer address. Equal on all of them; 1, 3, 5
	// or 7. Afterwards membership is state of the region, and changed at run time.
	Nodes map[string]string
	// Join says that this node is added to a region that exists: it waits to be added as a learner or voter.
	Join bool

	// Regions are the other regions: name to peer addresses of some or all of its nodes.
	Regions map[string][]string
	// InitialPrimary is the region that begins the first epoch of a new fleet. Equal everywhere. Default: this region, if it is the only one.
	InitialPrimary string

	// TickInterval is the unit of Raft time. Default DefaultTickInterval.
	TickInterval time.Duration
	// ElectionTicks is how many ticks without a leader start an election. Default DefaultElectionTicks; at least
	// MinElectionTicks.
	ElectionTicks int
	// SegmentBytes is the size of a log segment. Default DefaultSegmentBytes; MinSegmentBytes to
	// MaxSegmentBytes.
	SegmentBytes int64
	// RetainBytes is how much log is kept for a slow or absent secondary before it has to bootstrap. Default
	// DefaultRetainBytes.
	RetainBytes int64
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

	// OnAsk answers Ask on the leader of the primary region. May be nil.
	OnAsk func(ctx context.Context, request []byte) ([]byte, error)
	// OnLeadership is told, in order, when this node becomes or ceases to be the primary region's leader that takes
	// writes. It must not block. May be nil.
	OnLeadership func(primaryLeader bool)
}

// Defaults of a Config.
const (
	DefaultFleetID           = "mimir"
	DefaultTickInterval      = 100 * time.Millisecond
	DefaultElectionTicks     = 10
	DefaultSegmentBytes      = 64 << 20
	DefaultRetainBytes       = 8 << 30
	DefaultCompactBytes      = 64 << 20
	DefaultMaxFrameBytes     = 1 << 20
	DefaultMaxCommandBytes   = CommandBytesLimit
	DefaultMaxInflightBytes  = 64 << 20
	DefaultStreamWindowBytes = 32 << 20
)

// Limits of a Config.
const (
	MinElectionTicks  = 3
	MinSegmentBytes   = wal.MinSegmentBytes
	MaxSegmentBytes   = wal.MaxSegmentBytes
	CommandBytesLimit = timeline.MaxCommandBytes // the most that MaxCommandBytes can be
	FrameBytesLimit   = 32 << 20                 // the most that MaxFrameBytes can be: a frame fits one message between nodes
)

// withDefaults returns the configuration with every optional field filled in.
func (c Config) withDefaults() Config {
	setDefault(&c.FleetID, DefaultFleetID)
	setDefault(&c.TickInterval, DefaultTickInterval)
	setDefault(&c.ElectionTicks, DefaultElectionTicks)
	setDefault(&c.SegmentBytes, DefaultSegmentBytes)
	setDefault(&c.RetainBytes, DefaultRetainBytes)
	setDefault(&c.CompactBytes, DefaultCompactBytes)
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

// peers returns the members with which the region is first formed, in an order that is the same everywhere.
func (n *node) peers() []raftgroup.Peer {
	names := slices.Sorted(maps.Keys(n.config.Nodes))
	list := make([]raftgroup.Peer, 0, len(names))
	for _, name := range names {
		list = append(list, raftgroup.Peer{ID: members.RaftID(n.config.RegionID, name), Name: name, Addr: n.config.Nodes[name]})
	}
	return list
}
