package partial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication/clock"
)

// SourceConfig is what a Source is made of. All must be set but the clock.
type SourceConfig struct {
	Store               *kv.Store
	Regions             *Regions
	Fleet, Region, Node string
	// Barrier returns once the store has all that the fleet has acknowledged.
	Barrier func(ctx context.Context) error
	// Fit says why nobody may follow it, nil if somebody may.
	Fit    func() error
	Logger *slog.Logger
	// Clock counts how old things are, also while the machine is suspended. Default: the machine's.
	Clock clock.Clock
}

// Source has partial regions follow this node's store. It is safe for concurrent use.
type Source struct {
	SourceConfig
	sums     *semaphore.Weighted
	sessions sessions
	refusals refusals
	lastID   atomic.Uint64
}

const (
	// pulse is how often who follows is told where the source is.
	pulse = time.Second
	// partBytes is how much is read at once, and pieceBytes how much is in a message, about.
	partBytes, pieceBytes = 1 << 20, 256 << 10
	// barrierTime bounds how long it is found out what the fleet has, and comeTime how long that may take to come.
	barrierTime, comeTime = 5 * time.Second, 10 * time.Second
	// askTime is how long who calls has to say what he wants.
	askTime = 10 * time.Second
)

// NewSource returns a source. It starts nothing.
func NewSource(c SourceConfig) *Source {
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	return &Source{SourceConfig: c, sums: semaphore.NewWeighted(1)}
}

// Register adds the service.
func (s *Source) Register(to *grpc.Server) {
	type handler interface{ follow(grpc.ServerStream) error }
	streams := []grpc.StreamDesc{{StreamName: method, ServerStreams: true, ClientStreams: true,
		Handler: func(h any, ss grpc.ServerStream) error { return h.(handler).follow(ss) }}}
	to.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*handler)(nil), Streams: streams}, s)
}

// giving is one node that follows.
type giving struct {
	*Source
	stream  grpc.ServerStream
	ctx     context.Context
	ask     ask
	spans   []command.Span
	session *session
	after   int64 // what was sent
	told    mvcc.State
	pulsed  time.Time
	notes   chan note
	summed  chan *sums
	summing atomic.Bool   // sums are made
	known   chan struct{} // it is known for the first time how fresh the store is
	piece   []byte
	covers  atomic.Pointer[time.Duration] // what was acknowledged by then is in the store; nil: not known
	began   time.Duration                 // when the store was read
	behind  float64                       // in seconds, then; negative: not known
	echo    uint64                        // the ID of the last note before
}

// follow serves one node that follows.
func (s *Source) follow(ss grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	stream := &taken{ServerStream: ss, clock: s.Clock}
	g := &giving{Source: s, stream: stream, ctx: ctx, notes: make(chan note, 1), summed: make(chan *sums, 1),
		known: make(chan struct{}, 1)}
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	if err := g.hear(); err != nil {
		s.refusals.tell(s.Logger, from, err)
		return toldAs(err)
	}
	logger := s.Logger.With("partial", g.ask.Region, "by", g.ask.Node, "from", from)
	g.session = s.sessions.begin(&g.ask)
	defer s.sessions.end(g.session)
	logger.Info("a partial region follows this node", "after", g.ask.After)
	err := stream.while(func() error { return g.serve(cancel) })
	if err != errUntaken {
		logger = logger.With("revision", g.after)
	}
	logger.Info("a partial region follows this node no more", "err", err)
	return toldAs(err)
}

// refusals are those that the log is told of: one in refusalTime, with how many there were.
type refusals struct {
	mu   sync.Mutex
	told time.Time
	more int
}

const refusalTime = 10 * time.Second

func (r *refusals) tell(logger *slog.Logger, from string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.told) < refusalTime {
		r.more++
		return
	}
	r.told = time.Now()
	logger.Warn("somebody may not follow this node as a partial region", "from", from, "err", err, "more", r.more)
	r.more = 0
}

// toldAs is what who follows is told of an error.
func toldAs(err error) error {
	code := codes.Unavailable
	var strange *watch.CompactedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStranger):
		code = codes.PermissionDenied
	case errors.Is(err, errOther), errors.Is(err, errFleet), errors.Is(err, errVersion):
		code = codes.FailedPrecondition
	case errors.Is(err, errMalformed):
		code = codes.InvalidArgument
	case errors.Is(err, kv.ErrNotHere), errors.As(err, &strange):
		code = codes.Aborted
	case errors.Is(err, command.ErrCompacted):
		code = codes.OutOfRange
	}
	return status.Error(code, "mimir: "+err.Error())
}

var errVersion = errors.New("this node speaks another version to partial regions")

// hear takes the first message.
func (g *giving) hear() error {
	heard := make(chan error, 1)
	go func() { // it ends with the stream
		kind, body, err := receive(g.stream)
		if err == nil && kind != isAsk {
			err = fmt.Errorf("%w: kind %q comes first", errMalformed, kind)
		}
		if err == nil {
			err = decode(body, &g.ask)
		}
		heard <- err
	}()
	select {
	case err := <-heard:
		if err != nil {
			return err
		}
	case <-time.After(askTime):
		return fmt.Errorf("nothing was asked for within %s", askTime)
	}
	switch {
	case g.ask.Version != wireVersion:
		return fmt.Errorf("%w: %d, and %d was asked for", errVersion, wireVersion, g.ask.Version)
	}
	if err := CheckName(g.ask.Node); err != nil {
		return fmt.Errorf("%w: node: %w", errMalformed, err)
	}
	region, err := g.Regions.admit(&g.ask)
	if err == nil && g.ask.Fleet != g.Fleet {
		return fmt.Errorf("%w: this node is of fleet %s", errFleet, g.Fleet)
	}
	g.spans = region.Prefixes.Spans()
	return err
}

// serve sends what is asked for, and then what comes, until something ends it.
func (g *giving) serve(cancel func()) error {
	if err := g.Fit(); err != nil {
		return err
	}
	go g.listen(cancel)
	go g.freshen()
	if g.ask.After == 0 {
		if err := g.copy(); err != nil {
			return err
		}
	} else if err := g.resume(); err != nil {
		return err
	}
	for g.ctx.Err() == nil {
		if err := g.step(); err != nil {
			return err
		}
	}
	return g.ctx.Err()
}

// listen takes notes until the stream ends. One that was not looked at gives way to the next.
func (g *giving) listen(cancel func()) {
	defer cancel()
	for {
		kind, body, err := receive(g.stream)
		var n note
		if err == nil && kind == isNote {
			err = decode(body, &n)
		}
		if err != nil {
			return
		}
		g.session.noted(&n)
		if n.SumAt > 0 && g.summing.CompareAndSwap(false, true) { // one at a time: each may take long
			go g.sum(n.SumAt)
		}
		select {
		case <-g.notes:
		default:
		}
		g.notes <- n
	}
}

// resume begins behind what is there at the other side. Where this node has not come to that, it finds out whether the
// fleet ever will.
func (g *giving) resume() error {
	g.after = g.ask.After
	if g.Store.Revision() < g.after {
		bounded, cancel := context.WithTimeout(g.ctx, barrierTime)
		err := g.Barrier(bounded)
		cancel()
		if err != nil {
			return fmt.Errorf("this node is at revision %d, and what the fleet has is not known: %w",
				g.Store.Revision(), err)
		}
		coming, cancel := context.WithTimeout(g.ctx, comeTime)
		err = g.Store.WaitRevision(coming, g.after)
		cancel()
		var strange *watch.CompactedError
		if errors.As(err, &strange) && kv.EpochOf(g.Store.Revision()) < kv.EpochOf(g.after) {
			return fmt.Errorf("this node has an older history than that of revision %d: %v", g.after, err)
		}
		if err != nil {
			return fmt.Errorf("wait for revision %d: %w", g.after, err)
		}
	}
	return send(g.stream, isBegun, begun{Region: g.Region, Node: g.Node})
}

// copy sends what there is.
func (g *giving) copy() error {
	g.session.copies(true)
	defer g.session.copies(false)
	err := kv.HeldWithin(g.ctx, g.Store, g.spans, func(revision int64) error {
		g.after = revision
		return send(g.stream, isBegun, begun{Region: g.Region, Node: g.Node, Revision: revision})
	}, func(key []byte, v *mvcc.Version) error {
		g.piece = appendChange(g.piece, key, v)
		if len(g.piece) < pieceBytes {
			return nil
		}
		return g.flush()
	})
	if err == nil {
		err = g.flush()
	}
	if err == nil {
		err = g.may()
	}
	if err != nil {
		return err
	}
	g.look()
	return g.state(mvcc.State{Revision: g.after, Compact: g.after}, false)
}

// flush sends the changes that wait, in a message each for about as many as one may have.
func (g *giving) flush() error {
	if len(g.piece) == 0 {
		return nil
	}
	piece := g.piece
	g.piece = nil
	return g.give(piece)
}

// give sends changes, unless who follows may not follow any more, or not this node: a copy may take hours.
func (g *giving) give(piece []byte) error {
	if err := g.may(); err != nil {
		return err
	}
	g.session.sent(len(piece))
	return g.stream.SendMsg(changesMessage(piece))
}

// may says why nothing more may be sent.
func (g *giving) may() error {
	if _, err := g.Regions.admit(&g.ask); err != nil {
		return err // the file has changed
	}
	return g.Fit()
}

// step sends what is there and was not sent, or waits for it.
func (g *giving) step() error {
	if err := g.may(); err != nil {
		return err
	}
	g.look()
	newest := g.Store.Revision()
	var pieces [][]byte
	to, err := kv.ChangesWithin(g.Store, g.spans, g.after, partBytes, func(key []byte, v *mvcc.Version) error {
		if g.piece = appendChange(g.piece, key, v); len(g.piece) >= pieceBytes {
			pieces, g.piece = append(pieces, g.piece), nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		if err := g.give(piece); err != nil {
			return err
		}
	}
	if err := g.flush(); err != nil {
		return err
	}
	if to.Revision > g.after || to.Compact != g.told.Compact || time.Since(g.pulsed) >= pulse {
		if err := g.state(to, to.Revision >= newest); err != nil {
			return err
		}
	}
	return g.wait()
}

// wait returns when there is more, or it is time for a state.
func (g *giving) wait() error {
	bounded, cancel := context.WithDeadline(g.ctx, g.pulsed.Add(pulse))
	defer cancel()
	more, next := make(chan error, 1), g.after+1
	go func() { more <- g.Store.WaitRevision(bounded, next) }()
	for {
		select {
		case err := <-more:
			if err != nil && bounded.Err() == nil {
				return err
			}
			return nil
		case <-g.known:
			g.pulsed = time.Time{}
			cancel()
			<-more
			return nil
		case s := <-g.summed:
			if err := send(g.stream, isSums, s); err != nil {
				cancel()
				<-more
				return err
			}
		}
	}
}

// freshen finds out, over and over, how fresh the store is, by what the fleet has acknowledged.
func (g *giving) freshen() {
	for g.ctx.Err() == nil {
		asked := g.Clock.Elapsed()
		bounded, cancel := context.WithTimeout(g.ctx, barrierTime)
		if g.Barrier(bounded) == nil && g.covers.Swap(&asked) == nil {
			g.known <- struct{}{} // who follows may wait for that
		}
		cancel()
		select {
		case <-time.After(pulse / 2):
		case <-g.ctx.Done():
		}
	}
}

// look notes how old what is there is, and which note has come, before it is read.
func (g *giving) look() {
	select {
	case n := <-g.notes:
		g.echo = n.ID
	default:
	}
	g.behind, g.began = -1, g.Clock.Elapsed()
	if at := g.covers.Load(); at != nil {
		g.behind = (g.began - *at).Seconds()
	}
}

// state tells up to where everything was sent. It is whole if that is all that was there when it was looked for.
func (g *giving) state(to mvcc.State, whole bool) error {
	rights := etcdapi.RightsOf(g.Store)
	m := &stated{
		ID: g.lastID.Add(1), Revision: to.Revision, Compact: to.Compact, Gaps: to.Gaps, Newest: rights.At,
		Whole: whole, BehindSeconds: g.behind, Auth: rights.Enabled, AuthRevision: rights.Revision, Echo: g.echo,
	}
	g.after, g.told, g.pulsed = to.Revision, to, time.Now()
	g.session.told(m, g.began)
	return send(g.stream, isState, m)
}

// sum finds out what the prefixes hold at a revision, one after the other for all who follow. Who does not take what he
// asked for holds up nobody else.
func (g *giving) sum(at int64) {
	defer g.summing.Store(false)
	s := &sums{At: at}
	if err := g.sums.Acquire(g.ctx, 1); err != nil {
		return
	}
	var err error
	if s.Sums, s.Keys, err = sumsOf(g.ctx, g.Store, g.spans, at); err != nil {
		s.Sums, s.Why = nil, err.Error()
	}
	g.sums.Release(1)
	select {
	case g.summed <- s:
	case <-g.ctx.Done():
	}
}

// sumsOf returns the sums of what a store holds in each span at a revision, and of how many keys they are.
func sumsOf(ctx context.Context, s *kv.Store, spans []command.Span, at int64) (list [][]byte, keys int64, err error) {
	for _, sp := range spans {
		q := mvcc.Asked{From: sp.Start, Revision: at, Compact: at}
		if len(sp.End) > 0 {
			q.To = sp.End
		}
		err := kv.Digest(ctx, s, q, func(p mvcc.Part) bool {
			list, keys = append(list, append([]byte{}, p.Sum[:]...)), keys+p.Keys
			return true
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return list, keys, nil
}
