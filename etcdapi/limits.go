package etcdapi

import (
	"cmp"
	"sync/atomic"
	"time"
)

// Limits bound what one client may ask for. Zero values mean the defaults, which are etcd's where etcd
// has them, but for Streams.
type Limits struct {
	// RequestBytes bounds a write as it is proposed. Default DefaultRequestBytes.
	RequestBytes int
	// TxnOps bounds the operations of each branch of a transaction, and its comparisons. Default DefaultTxnOps.
	TxnOps int
	// EffectBytes bounds what one request may delete, and answer inside a transaction that writes, by an estimate of
	// what each node needs for it: the values that have to be held, the keys twice, and 256 bytes for each; and 32
	// bytes for each change of the transaction that a range in it comes behind. It bounds those under way together
	// too, which wait. Default DefaultEffectBytes.
	EffectBytes int64
	// AnswerBytes bounds the answers of ranges, and of transactions that only read, which are being made at a time, or
	// wait for other regions, or for their clients to read them, of one connection at most as much as is free beside
	// it. Default DefaultAnswerBytes.
	AnswerBytes int64
	// Streams bounds the requests under way on one connection, watches included. Default DefaultStreams, which is
	// less than etcd's: each costs about 11 KiB.
	Streams int
	// Watches bounds the watches of one stream, with those that ended by themselves and were not cancelled since.
	// Default DefaultWatches: each costs about 4 KiB.
	Watches int
	// AllWatches bounds the watches of all streams: beyond, a stream that has its share of that has no further one, and
	// beyond twice as many none has. Default DefaultAllWatches.
	AllWatches int
	// RequestTimeout bounds a request whose client set no deadline, or a later one. Default
	// DefaultRequestTimeout. When the primary has been silent for that long, what needs it waits for a third of
	// LeaderTimeout, so that clients come to another node sooner.
	RequestTimeout time.Duration
	// Staleness bounds the age of serializable reads; [StalenessKey] can bound it further. 0: no bound.
	Staleness time.Duration
	// Durability says in which regions writes have to be.
	Durability DurabilityRules
	// DurableBytes bounds the writes under way that wait for other regions, by their commands and 8 KiB for each.
	// Beyond, one is refused. Default DefaultDurableBytes.
	DurableBytes int64
	// ProgressInterval is how often a quiet watch that asked for it is told of its progress; a tenth is added at
	// random. Default DefaultProgressInterval.
	ProgressInterval time.Duration
	// LeaderTimeout is how long a stream that requires a leader outlives the loss of it. Default
	// DefaultLeaderTimeout.
	LeaderTimeout time.Duration
}

// Default limits.
const (
	DefaultRequestBytes     = 3 << 19
	DefaultTxnOps           = 128
	DefaultAnswerBytes      = 1 << 30
	DefaultStreams          = 4096
	DefaultWatches          = 64 << 10
	DefaultAllWatches       = 256 << 10
	DefaultEffectBytes      = 1 << 30
	DefaultDurableBytes     = 256 << 20
	DefaultRequestTimeout   = 7 * time.Second
	DefaultProgressInterval = 10 * time.Minute
	DefaultLeaderTimeout    = 3 * time.Second
	DefaultFailureRest      = time.Second

	// requestOverheadBytes is what a message may have beyond RequestBytes before gRPC refuses to read it.
	requestOverheadBytes = 512 << 10
	// signsPart is which part of AnswerBytes the answers of keep-alives and of watches of the health have for
	// themselves.
	signsPart = 16
	// healthAge is how old the term and leader may be that headers and leader checks are made from.
	healthAge = 50 * time.Millisecond
)

// orDefaults has the defaults where nothing is said.
func (l Limits) orDefaults() Limits {
	durability := l.Durability
	durability.Timeout = cmp.Or(durability.Timeout, DefaultDurabilityTimeout)
	return Limits{
		RequestBytes:     cmp.Or(l.RequestBytes, DefaultRequestBytes),
		TxnOps:           cmp.Or(l.TxnOps, DefaultTxnOps),
		AnswerBytes:      cmp.Or(l.AnswerBytes, DefaultAnswerBytes),
		EffectBytes:      cmp.Or(l.EffectBytes, DefaultEffectBytes),
		Streams:          cmp.Or(l.Streams, DefaultStreams),
		Watches:          cmp.Or(l.Watches, DefaultWatches),
		AllWatches:       cmp.Or(l.AllWatches, DefaultAllWatches),
		Staleness:        max(0, l.Staleness),
		Durability:       durability,
		DurableBytes:     cmp.Or(l.DurableBytes, DefaultDurableBytes),
		RequestTimeout:   cmp.Or(l.RequestTimeout, DefaultRequestTimeout),
		ProgressInterval: cmp.Or(l.ProgressInterval, DefaultProgressInterval),
		LeaderTimeout:    cmp.Or(l.LeaderTimeout, DefaultLeaderTimeout),
	}
}

// inForce is the limits that hold now. It is safe for concurrent use.
type inForce struct{ at atomic.Pointer[limits] }

// limits are what holds until replaced is closed.
type limits struct {
	Limits
	replaced chan struct{}
}

func (f *inForce) now() *limits { return f.at.Load() }

// SetLimits has other limits hold from now on, for requests and streams that are under way too, as far as they look at
// them again; what was admitted by those of before counts by those. Of a request's size and of the streams of a
// connection gRPC looks at what ServerOptions said when its server was made: another one is to take the connections
// that come. It may be called at any time, by one caller at a time.
func (a *API) SetLimits(l Limits) {
	next := &limits{Limits: l.orDefaults(), replaced: make(chan struct{})}
	a.answers.bound(next.AnswerBytes)
	a.messages.bound(next.AnswerBytes)
	a.signs.bound(max(next.AnswerBytes/signsPart, madeBytes))
	before := a.limits.now()
	if before == nil || before.EffectBytes != next.EffectBytes {
		a.effects.Store(newEffects(next.EffectBytes))
	}
	a.limits.at.Store(next)
	if before != nil {
		close(before.replaced)
	}
}
