package stream

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/throttle"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Names under which a Source is offered on a transport.
const (
	// Service is for subscribers that say how their region was formed.
	Service = "stream/2"
	// ServiceElder is for those of versions before, which do not.
	ServiceElder = "stream/1"
)

// Log is what a source needs of a node's log; *wal.Log is one.
type Log interface {
	// Seek returns the index of the first entry that a reader which has everything up to position needs next;
	// raft.ErrCompacted if it may be gone.
	Seek(position timeline.Position) (uint64, error)
	// Entries returns entries of [lo, hi), at least one; raft.ErrCompacted, raft.ErrUnavailable.
	Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
	// FirstPosition returns the lowest position from which Seek succeeds, false if the log holds no history.
	FirstPosition() (timeline.Position, bool)
	// Pin keeps entries from index on until Unpin.
	Pin(name string, index uint64)
	Unpin(name string)
	// Bytes returns how many bytes of entries are held.
	Bytes() int64
}

// History is what this node has applied. It is safe for concurrent use.
type History interface {
	// View returns a consistent picture. It is cheap and never blocks for long.
	View() View
	// Changed returns a channel that is closed when View changes next. Take it before View.
	Changed() <-chan struct{}
}

// View is a picture of what a node has applied. Nobody changes what it points to.
type View struct {
	Cursor timeline.Cursor  // after the entry at Index
	Index  uint64           // the last Raft index applied
	Reigns []timeline.Reign // the history, in order of epochs
	// Bytes is the size of all history entries applied since some moment before the source was made; it only rises.
	// Zero: not counted; then lag in bytes is bounded by the size of the log.
	Bytes uint64
	// Serving is nil, or says why this node cannot be a source: its history has diverged, it is stopping.
	Serving error
}

// SourceConfig is what a Source is made of. Its functions are optional, must not block, and may be called concurrently.
type SourceConfig struct {
	Region  string // of this node
	Log     Log
	History History
	Clock   clock.Clock  // default clock.Real
	Logger  *slog.Logger // default slog.Default()

	// WindowBytes bounds what one subscriber has been sent and not acknowledged. Required.
	WindowBytes int64
	// BatchBytes is where a batch is closed, between 64 KiB and 1 MiB. Default 512 KiB.
	BatchBytes int
	// SilenceTimeout ends a session of which nothing was heard for so long. Default 5 s.
	SilenceTimeout time.Duration

	// Committed returns a position that no command committed in the primary region before the call exceeds (a read
	// index), so that lag is an upper bound even if this node itself is behind. It may block until ctx ends. Nil: the
	// node's own position counts.
	Committed func(ctx context.Context) (timeline.Position, error)
	// OnAck is told what is durable with the quorum of a secondary: everything up to position in a history whose last
	// reign up to there is epoch's.
	OnAck func(region string, epoch timeline.Epoch, position timeline.Position)
	// Bars says why a region cannot follow this history: it is not one of the fleet, or led by a node of a version that
	// does not know something of it. Nil: all can.
	Bars func(region string) error
	// Strange says why a region that was formed with these disks is not the one that the fleet knows under that name:
	// it follows nobody, and acknowledges nothing. It is asked often. Nil: none is.
	Strange func(region string, formed map[uint64]string) error
	// OnParted is told that a region holds a place at which the log of this node has another chain, although their
	// reigns are the same: there are two histories of one reign. Nil: nobody wants to know.
	OnParted func(region string, at timeline.Cursor)
	// Throttle has what may go to each region. Nil: as much as goes.
	Throttle *throttle.Throttle
	// OnSession is told when the first session of a region begins and when its last one ends.
	OnSession func(region string, connected bool)
}

func (c SourceConfig) withDefaults() SourceConfig {
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = defaultBatchBytes
	}
	c.BatchBytes = min(max(c.BatchBytes, minBatchBytes), maxBatchBytes)
	if c.SilenceTimeout <= 0 {
		c.SilenceTimeout = defaultSilenceTimeout
	}
	return c
}

const (
	defaultBatchBytes     = 512 << 10
	minBatchBytes         = 64 << 10
	maxBatchBytes         = 1 << 20
	defaultSilenceTimeout = 5 * time.Second
)

// Source serves this node's applied log to subscribers. It is safe for concurrent use.
type Source struct {
	config  SourceConfig
	encoder *zstd.Encoder

	mu       sync.Mutex
	sessions map[*session]struct{}
	number   uint64 // of the last session

	telling sync.Mutex
	counts  map[string]int // sessions by region; guarded by telling
}

// NewSource returns a Source; offer its Handle as Service.
func NewSource(c SourceConfig) *Source {
	return &Source{
		config:   c.withDefaults(),
		encoder:  newEncoder(),
		sessions: make(map[*session]struct{}),
		counts:   make(map[string]int),
	}
}

// SlotView is a connected secondary as this source sees it.
type SlotView struct {
	Region       string
	Acknowledged timeline.Position // durable with the secondary's quorum
	Sent         timeline.Position
	Lag          Lag // of what is acknowledged; an upper bound
	Since        time.Time
}

// Lag is an upper bound of what a region is behind its source (invariant 14).
type Lag struct {
	Commands uint64
	Bytes    uint64
	// Seconds says that everything committed at the source so long ago is here.
	Seconds float64
	// Known is false as long as the source's position has not been heard and reached once; then no bound is known.
	Known bool
	// AtLeast says that the source did not confirm lately where it is: Commands and Bytes are what is known of, and
	// there may be more. A source's own picture of its subscribers is never so.
	AtLeast bool
}

// Slots returns the connected secondaries, by name.
func (s *Source) Slots() []SlotView {
	asked := s.config.Clock.Now()
	view := s.config.History.View()
	s.mu.Lock()
	sessions := make([]*session, 0, len(s.sessions))
	for x := range s.sessions {
		sessions = append(sessions, x)
	}
	s.mu.Unlock()

	best := make(map[string]SlotView)
	for _, x := range sessions {
		slot := x.slot(asked, view)
		if held, ok := best[slot.Region]; !ok || slot.Acknowledged > held.Acknowledged {
			best[slot.Region] = slot
		}
	}
	slots := make([]SlotView, 0, len(best))
	for _, slot := range best {
		slots = append(slots, slot)
	}
	slices.SortFunc(slots, func(a, b SlotView) int { return strings.Compare(a.Region, b.Region) })
	return slots
}

// Expel ends the sessions of a region, which is not one of the fleet any more; Bars keeps it from others.
func (s *Source) Expel(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.sessions {
		if x.region == region {
			x.stop()
		}
	}
}

func (s *Source) enter(x *session) {
	s.mu.Lock()
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	s.count(x.region, 1)
}

func (s *Source) leave(x *session) {
	s.mu.Lock()
	delete(s.sessions, x)
	s.mu.Unlock()
	s.count(x.region, -1)
}

// count tells of the first and the last session of a region, in order.
func (s *Source) count(region string, change int) {
	s.telling.Lock()
	defer s.telling.Unlock()
	before := s.counts[region]
	s.counts[region] = before + change
	if before+change == 0 {
		delete(s.counts, region)
	}
	if f := s.config.OnSession; f != nil && (before == 0 || before+change == 0) {
		f(region, change > 0)
	}
}
