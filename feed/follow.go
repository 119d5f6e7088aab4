package feed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Dial connects to an endpoint of the fleet, to another one each time where there are several, and logs in where
// somebody has to. It is called once for each try to go on, and close when that is over.
type Dial func(context.Context) (conn grpc.ClientConnInterface, close func(), err error)

// Over uses one connection that there is for all tries, such as the ActiveConnection of a clientv3.Client, which is to
// have a DialKeepAliveTime, and one endpoint: of a client with several each request may go to another one, and in a
// fleet that is parted their answers do not fit together. For several write a Dial that takes one after the other.
func Over(conn grpc.ClientConnInterface) Dial {
	return func(context.Context) (grpc.ClientConnInterface, func(), error) { return conn, func() {}, nil }
}

// Options are what Follow works with. Dial must be set.
type Options struct {
	Dial Dial
	// Key and End name the keys that are followed as requests of etcd do; both empty: all. See Prefix.
	Key, End []byte
	// Token is from where to go on, and From the first revision that is wanted; at most one of them. Without both, and
	// without Copy, it begins with what is written next.
	Token Token
	From  int64
	// Copy begins with a copy of all keys. With a token or a revision, and whenever the feed would end with a
	// VoidError, a CompactedError or a ForkedError, a copy is made instead of that, and only then.
	Copy bool
	// Previous has each event tell what its key was before, unless the revision before it is compacted.
	Previous bool
	// Heartbeat is how often Resolved comes where nothing else does, at least LeastHeartbeat. Default DefaultHeartbeat.
	Heartbeat time.Duration
	// Trouble is told why it was interrupted, before it goes on. It must not block.
	Trouble func(error)
}

// Bounds and defaults of Options.
const (
	LeastHeartbeat   = 10 * time.Millisecond
	DefaultHeartbeat = 5 * time.Second
)

// Errors that end a feed beside [ErrToken], [VoidError], [CompactedError], [ForkedError], and a refusal by the fleet.
var (
	// ErrOptions says that Options contradict themselves.
	ErrOptions = errors.New("feed: options")
	// ErrForeign says that the token is of another fleet, or of other keys.
	ErrForeign = errors.New("the token is of something else")
)

// errBehind says that an endpoint is not where the feed has come to.
var errBehind = errors.New("this endpoint is behind")

const (
	leastRest = 100 * time.Millisecond
	mostRest  = 5 * time.Second
	// mostPoll is how often at least an endpoint is asked how far it is.
	mostPoll = 5 * time.Second
)

// Prefix returns the Key and End of the keys that begin with a prefix, "" for all.
func Prefix(prefix string) (key, end []byte) { return sides.RangeOf(prefix) }

// Follow gives what is changed until the loop over it is left, ctx ends, or something happens behind which it cannot go
// on; that error is the last it gives. It tries again for ever what may get better. The items are given one by one, and
// nothing is read while the loop is busy but what F9 allows: it is as slow as its consumer.
//
// A loop that is left, or a process that is killed, goes on with the last token that was kept.
func Follow(ctx context.Context, o Options) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		f, err := newFollower(o, yield)
		if err == nil {
			err = f.run(ctx)
		}
		if !f.left {
			yield(nil, err)
		}
	}
}

// follower is one Follow. It is used by one goroutine.
type follower struct {
	Options
	yield func(*Item, error) bool
	left  bool // the loop was

	at    place // everything up to at.Revision was given out
	knows bool  // at is of a place, and not the beginning of whatever comes
	began bool  // the first item was given
	// leads says that the history leads on behind at although at itself is compacted.
	leads   bool
	copying *copying // what is to be copied before anything else; nil: nothing
	given   int64    // items
	// patience is for how long an endpoint may say nothing on a watch.
	patience time.Duration
}

// errLeft ends a follower whose loop was left.
var errLeft = errors.New("left")

func newFollower(o Options, yield func(*Item, error) bool) (*follower, error) {
	f := &follower{Options: o, yield: yield, patience: sides.AnswerTime}
	if len(f.Key) == 0 && len(f.End) == 0 {
		f.Key, f.End = sides.All, sides.All
	}
	if f.Heartbeat == 0 {
		f.Heartbeat = DefaultHeartbeat
	}
	f.at.Keys = keysOf(f.Key, f.End)
	switch {
	case o.Dial == nil:
		return f, fmt.Errorf("%w: Dial is not set", ErrOptions)
	case o.Token != "" && o.From != 0:
		return f, fmt.Errorf("%w: a token and a revision: name one of them", ErrOptions)
	case o.From < 0 || f.Heartbeat < LeastHeartbeat:
		return f, fmt.Errorf("%w: revision %d, heartbeat %v", ErrOptions, o.From, f.Heartbeat)
	case o.From > 0:
		f.at.Revision, f.at.Given, f.knows = o.From-1, o.From-1, true
	case o.Token != "":
		p, err := placeOf(o.Token)
		if err != nil {
			return f, err
		}
		if p.Keys != f.at.Keys {
			return f, fmt.Errorf("%w: it has followed other keys: name the same, or begin without it", ErrForeign)
		}
		f.at, f.knows = p, true
	case o.Copy:
		f.copying = &copying{}
	}
	return f, nil
}

func (f *follower) run(ctx context.Context) error {
	for rest := leastRest; ; rest = min(2*rest, mostRest) {
		before := f.given
		err := f.session(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isFinal(err):
			return err
		}
		if f.Trouble != nil {
			f.Trouble(err)
		}
		if f.given > before {
			rest = leastRest
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isFinal(err error) bool {
	var void *VoidError
	var compacted *CompactedError
	var forked *ForkedError
	if errors.Is(err, errLeft) || errors.Is(err, ErrForeign) || errors.As(err, &void) || errors.As(err, &compacted) ||
		errors.As(err, &forked) {
		return true
	}
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unimplemented:
		return true
	case codes.InvalidArgument:
		return !sides.IsStale(err)
	}
	return false
}

// give gives an item.
func (f *follower) give(it *Item) error {
	f.given++
	f.patience = sides.AnswerTime
	if !f.yield(it, nil) {
		f.left = true
		return errLeft
	}
	return nil
}

// session follows by one connection until something fails.
func (f *follower) session(ctx context.Context) error {
	conn, leave, err := f.Dial(ctx)
	if err != nil {
		return fmt.Errorf("the fleet: %w", err)
	}
	defer leave()
	s := &session{follower: f, side: sides.Side{Name: "the fleet", Key: f.Key, Conn: conn}}
	for err = s.orCopyOfFork(s.begin(ctx)); err == nil; err = s.orCopyOfFork(s.step(ctx)) {
	}
	return err
}

// step goes on until something fails, or something else is next.
func (s *session) step(ctx context.Context) error {
	if s.copying != nil {
		return s.copy(ctx)
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	err := s.watch(ctx)
	var compacted *sides.CompactedError
	if errors.As(err, &compacted) {
		return s.parted(ctx)
	}
	return err
}
