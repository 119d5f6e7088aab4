package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// Settle returns once everything that Take took is applied here, or can no longer be applied. Called before each
	// session, so that nothing of a former one stands between Cursor and what the new one hands over.
	Settle(ctx context.Context) error
	// Reigns returns the history that goes with it; nobody changes it. It may be ahead of a Cursor taken before.
	Reigns() []timeline.Reign
	// Changed returns a channel that is closed when Cursor changes next. Take it before Cursor.
	Changed() <-chan struct{}
	// Take hands over payloads to be proposed in this order, and returns when Raft took them, committed or not. It
	// blocks for back-pressure. The payloads belong to the Taker from then on; the slice that holds them does not. Any
	// error ends the session: what was lost is sent again in the next. If what was taken can be lost without an error,
	// because this node ceased to lead the region, Run's context must end.
	Take(ctx context.Context, payloads [][]byte) error
}

// SinkConfig is what a Sink is made of.
type SinkConfig struct {
	Region    string // of this node
	Transport transport.Transport
	Taker     Taker
	Clock     clock.Clock  // default clock.Real
	Logger    *slog.Logger // default slog.Default()
	// Formed returns the disks with which this region was formed; nil if that is not known. May be nil: it is not said.
	Formed func() map[uint64]string
	// Addresses returns nodes of the source region, best first; they are tried in turn. It is asked anew each time.
	Addresses func() []string
	// Detour returns further regions with nodes that have the source's history and more of it than is applied here.
	// They are tried when no node of the source has the log that comes next. Nobody asks for an Epoch. May be nil.
	Detour func() []Way
	// Better reports whether the source's region has a node that would serve better than the one at address: one that
	// leads it, or that is further than position. Nil: none has.
	Better func(address string, position timeline.Position) bool
	// Way returns by whom to follow the source now. It is asked before each round, and again every PingInterval: a
	// session by another way ends. Nil: by the source itself.
	Way func() Way
	// Missed is told of a way by which nobody serves, or does no more. Nil: nobody wants to know.
	Missed func(Way)
	// MinBackoff and MaxBackoff bound the pause after all addresses failed; it doubles from one to the other, and is
	// drawn between half and all of that. Defaults 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// Rand draws the pauses; used by Run alone. Default: seeded at random.
	Rand *rand.Rand
	// WindowBytes bounds what is received and not yet applied. Required.
	WindowBytes int64
	// PingInterval is the time between two questions for the source's position. Default 1 s.
	PingInterval time.Duration
	// SilenceTimeout ends a session in which nothing was heard for so long. Default 5 s.
	SilenceTimeout time.Duration
	// StaleTimeout ends a session that brought nothing new for so long, and no confirmation that the source's region is
	// alive either, if there is a better node. Default 10 s.
	StaleTimeout time.Duration
}

// Status is what a sink knows of its source.
type Status struct {
	Connected bool
	Address   string            // of the source it is or was connected to
	Committed timeline.Position // the highest position known to be committed at the source
	Epoch     timeline.Epoch    // of the source when it accepted
	Err       error             // why the last session ended; nil while connected
	Way       string            // the region that serves, if it is not the source
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
	if c.PingInterval <= 0 {
		c.PingInterval = time.Second
	}
	if c.SilenceTimeout <= 0 {
		c.SilenceTimeout = defaultSilenceTimeout
	}
	if c.StaleTimeout <= 0 {
		c.StaleTimeout = 2 * c.SilenceTimeout
	}
	return c
}

// Sink follows a source. Run is called by one goroutine at a time; Lag and Status are safe for concurrent use.
type Sink struct {
	config  SinkConfig
	decoder *zstd.Decoder
	logged  string // the last loss logged; of Run alone
	// answered says that a node of the source answered in this round or the one before; of Run alone. Then what it said
	// stands, and not that others cannot be reached.
	answered bool
	// silent is since when no node of the source said anything, zero if one did or another region served; of Run alone.
	silent time.Time

	mu      sync.Mutex
	status  Status
	horizon horizon
	said    time.Time // when the source was last asked for what it confirmed
	unsent  uint64    // bytes that the source had and that have not arrived
	held    uint64    // bytes received and not applied here
}

// NewSink returns a Sink that does nothing before Run.
func NewSink(c SinkConfig) *Sink {
	return &Sink{config: c.withDefaults(), decoder: newDecoder()}
}

// Run follows the source until ctx ends, trying again for ever. It returns ctx's error, or a *ForkError or
// *BootstrapError, which need a decision above; it may be called again afterwards.
func (k *Sink) Run(ctx context.Context) error {
	backoff := k.config.MinBackoff
	for {
		progress, err := k.tryAll(ctx)
		if err != nil {
			return err
		}
		if progress {
			backoff = k.config.MinBackoff
		}
		if err := k.pause(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, k.config.MaxBackoff)
	}
}

// tryAll tries one address after the other until one of them served. An error is Run's. A bootstrap is
// believed only when no address can do without.
func (k *Sink) tryAll(ctx context.Context) (progress bool, err error) {
	var bootstrap *BootstrapError
	var gap *BootstrapError // by the word of another region
	if w := k.way(); w.Region != "" {
		served, progress, err := k.byWay(ctx, w)
		if served {
			k.silent = time.Time{}
			return progress, ctx.Err()
		}
		errors.As(err, &gap)
	}
	addresses := k.config.Addresses()
	if len(addresses) == 0 {
		k.lost("", errNoAddress)
	}
	answered, spoke := false, false
	defer func() { k.answered = answered }()
	for _, address := range addresses {
		f := k.newFollowing(address)
		f.stays = gap != nil
		err := f.run(ctx)
		answered = answered || !errors.Is(err, transport.ErrUnreachable)
		spoke = spoke || !errors.Is(err, transport.ErrUnreachable) && !errors.Is(err, ErrSilent)
		if ctx.Err() != nil {
			k.lost(address, ctx.Err())
			return false, ctx.Err()
		}
		k.lost(address, err)
		var fork *ForkError
		if errors.As(err, &fork) {
			return false, fork
		}
		if f.accepted {
			k.silent = time.Time{}
		}
		if left := errors.Is(err, ErrElsewhere); f.accepted || left {
			return f.progress || left, nil
		}
		errors.As(err, &bootstrap)
	}
	if k.alone(spoke) && bootstrap == nil {
		bootstrap = gap
	}
	if bootstrap == nil {
		return false, ctx.Err()
	}
	if k.detour(ctx) {
		return true, nil
	}
	return false, cmp.Or[error](ctx.Err(), bootstrap)
}

// alone reports whether the source has been silent for so long that what another region says of a gap is believed.
func (k *Sink) alone(spoke bool) bool {
	now := k.config.Clock.Now()
	switch {
	case spoke:
		k.silent = time.Time{}
	case k.silent.IsZero():
		k.silent = now
	}
	return !spoke && now.Sub(k.silent) >= silentSource
}

// detour follows other regions where the source has a gap, and reports whether that led on. What they say otherwise is
// not the source's word.
func (k *Sink) detour(ctx context.Context) (progress bool) {
	if k.config.Detour == nil {
		return false
	}
	for _, w := range k.config.Detour() {
		for _, address := range w.Addresses {
			f := k.newFollowing(address)
			f.around = w.Region
			k.lost(address, f.run(ctx))
			if f.progress || ctx.Err() != nil {
				return f.progress
			}
		}
	}
	return false
}

// pause waits between half and all of d.
func (k *Sink) pause(ctx context.Context, d time.Duration) error {
	t := k.config.Clock.NewTimer(d/2 + time.Duration(k.config.Rand.Int64N(int64(d/2)+1)))
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNoAddress = fmt.Errorf("%w: no address of the source is known", transport.ErrUnreachable)

// lost reports the end of a session; a loss that only repeats itself is logged once.
func (k *Sink) lost(address string, err error) {
	unreachable := errors.Is(err, transport.ErrUnreachable)
	k.tell(func(s *Status) {
		if !unreachable || !k.answered || s.Err == nil {
			s.Address, s.Err = address, err
		}
		s.Connected, s.Way = false, ""
	})
	k.answered = k.answered || !unreachable
	text := address + ": " + err.Error()
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrElsewhere):
	case errors.Is(err, ErrGap), errors.Is(err, ErrChain), errors.Is(err, ErrEpoch):
		k.config.Logger.Error("stream does not continue the history held here; nothing of it was taken",
			"source", address, "err", err)
	case text != k.logged:
		k.config.Logger.Warn("stream not connected", "source", address, "err", err)
	}
	k.logged = text
}

// tell changes the status.
func (k *Sink) tell(change func(*Status)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

// hear notes a position that is committed at the source.
func (k *Sink) hear(committed timeline.Position) {
	k.tell(func(s *Status) { s.Committed = max(s.Committed, committed) })
}

// received notes that so many bytes came.
func (k *Sink) received(committed timeline.Position, bytes int64) {
	k.mu.Lock()
	k.unsent -= min(k.unsent, uint64(bytes))
	k.held += uint64(bytes)
	k.mu.Unlock()
	k.hear(committed)
}

// applied notes that everything up to position is applied here, so many bytes of it received in this session.
func (k *Sink) applied(position timeline.Position, bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held -= uint64(bytes)
	k.horizon.reach(position)
}

// dropped notes that so many bytes have to come again.
func (k *Sink) dropped(bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held -= uint64(bytes)
	k.unsent += uint64(bytes)
}

// learn notes that at the moment sentAt nothing beyond p.committed was committed.
func (k *Sink) learn(sentAt time.Time, p pong) {
	applied := k.config.Taker.Cursor().Position
	k.mu.Lock()
	k.said, k.unsent = sentAt, p.unsent
	k.horizon.add(sentAt, p.committed)
	k.horizon.reach(applied)
	k.mu.Unlock()
	k.hear(p.committed)
}

// Status returns what is known of the source.
func (k *Sink) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Lag returns how far this region is behind. Commands and Bytes are as of the source's last word; Seconds holds for
// this moment: everything that was committed at the source so long ago is applied here.
func (k *Sink) Lag() Lag {
	applied := k.config.Taker.Cursor().Position
	k.mu.Lock()
	defer k.mu.Unlock()
	var l Lag
	if k.status.Committed > applied {
		l.Commands = uint64(k.status.Committed - applied)
		l.Bytes = k.unsent + k.held
	}
	now := k.config.Clock.Now()
	k.horizon.reach(applied)
	l.Seconds, l.Known = k.horizon.seconds(now)
	l.AtLeast = !l.Known || clock.Ago(k.said, now) > k.config.SilenceTimeout
	return l
}
