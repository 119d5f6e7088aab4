package stream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Taker is the region that a sink feeds. It is safe for concurrent use.
type Taker interface {
	// Cursor returns what is applied here, and so committed by this region's quorum.
	Cursor() timeline.Cursor
	// Reigns returns the history that goes with it; nobody changes it. It may be ahead of a Cursor taken before.
	Reigns() []timeline.Reign
	// Changed returns a channel that is closed when Cursor changes next. Take it before Cursor.
	Changed() <-chan struct{}
	// Take hands over payloads to be proposed in this order, and returns when Raft took them, committed or not. It blocks for
	// back-pressure. The payloads belong to the Taker from then on; the slice that holds them does not. Any error ends the session:
	// what was lost is sent again in the next.
	Take(ctx context.Context, payloads [][]byte) error
}

// SinkConfig is what a Sink is made of.
type SinkConfig struct {
	Region    string // of this node
	Transport transport.Transport
	Taker     Taker
	Clock     clock.Clock  // default clock.Real
	Logger    *slog.Logger // default slog.Default()
	// Addresses returns nodes of the source region, best first; they are tried in turn. It is asked anew each time.
	Addresses func() []string
	// MinBackoff and MaxBackoff bound the pause after all addresses failed; it doubles from one to the other, and is
	// drawn between half and all of that. Defaults 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// Rand draws the pauses; used by Run alone. Default: seeded at random.
	Rand *rand.Rand
	// WindowBytes bounds what is received and not yet applied. Default 32 MiB.
	WindowBytes int64
	// PingInterval is the time between two questions for the source's position. Default 1 s.
	PingInterval time.Duration
	// SilenceTimeout ends a session in which nothing was heard for so long. Default 5 s.
	SilenceTimeout time.Duration
	// OnStatus is told what changes. It must not block. May be nil.
	OnStatus func(Status)
}

// Status is what a sink knows of its source.
type Status struct {
	Connected bool
	Address   string            // of the source it is or was connected to
	Committed timeline.Position // the highest position known to be committed at the source
	Epoch     timeline.Epoch    // of the source when it accepted
	Err       error             // why the last session ended; nil while connected
}

func (c SinkConfig) withDefaults() SinkConfig {
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.MinBackoff <= 0 {
		c.MinBackoff = 100 * time.Millisecond
	}
	if c.MaxBackoff < c.MinBackoff {
		c.MaxBackoff = max(5*time.Second, c.MinBackoff)
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.WindowBytes <= 0 {
		c.WindowBytes = defaultWindowBytes
	}
	if c.PingInterval <= 0 {
		c.PingInterval = time.Second
	}
	if c.SilenceTimeout <= 0 {
		c.SilenceTimeout = defaultSilenceTimeout
	}
	return c
}

// Sink follows a source. Run is called once; Lag and Status are safe for concurrent use.
type Sink struct {
	config  SinkConfig
	decoder *zstd.Decoder

	mu       sync.Mutex
	status   Status
	horizon  horizon
	unsent   uint64 // bytes that the source had committed and not sent when it answered last
	unproved uint64 // bytes received and not yet applied here
}

// NewSink returns a Sink that does nothing before Run.
func NewSink(c SinkConfig) *Sink {
	return &Sink{config: c.withDefaults(), decoder: newDecoder()}
}

// Run follows the source until ctx ends, trying again for ever. It returns ctx's error, or a *ForkError or *BootstrapError, which
// need a decision above; it may be called again afterwards.
func (k *Sink) Run(ctx context.Context) error { return k.run(ctx) }

// Status returns what is known of the source.
func (k *Sink) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Lag returns how far this region is behind. Commands and Bytes are as of the source's last answer, which is at most Seconds
// old; Seconds holds for this moment: everything that was committed at the source so long ago is applied here.
func (k *Sink) Lag() Lag { return k.lag() }
