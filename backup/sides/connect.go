package sides

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reachTime is how long an endpoint may take to say that it is there.
const reachTime = 5 * time.Second

// Dial connects, and logs in where somebody has to: to another endpoint each time, where there are several.
type Dial func(context.Context) (*grpc.ClientConn, error)

// chosen is in the context of a Dial: where the endpoint stands that it is to connect to, "" for whichever is next.
type chosen struct{}

// InTurn returns a Dial to one endpoint after the other, each of which dial connects to. What Connect connects with it
// logs in again at its own endpoint: another one may be of a region that is cut off.
func InTurn(
	endpoints []string, dial func(ctx context.Context, endpoint string) (*grpc.ClientConn, error),
) Dial {
	var next atomic.Uint64
	return func(ctx context.Context) (*grpc.ClientConn, error) {
		at, known := ctx.Value(chosen{}).(*string)
		if !known {
			at = new(string)
		}
		if *at == "" {
			*at = endpoints[(next.Add(1)-1)%uint64(len(endpoints))]
		}
		return dial(ctx, *at)
	}
}

// atOne returns a Dial to the next endpoint, and to no other, if dial takes them in turn.
func atOne(dial Dial) Dial {
	at := new(string)
	return func(ctx context.Context) (*grpc.ClientConn, error) {
		return dial(context.WithValue(ctx, chosen{}, at))
	}
}

// Connect connects to the first endpoint that answers, of up to tries, when it is asked for a key that whoever asks may
// read: nil for root. The caller calls close.
func Connect(ctx context.Context, name string, key []byte, dial Dial, tries int) (s Side, close func(), err error) {
	for range tries {
		one := atOne(dial)
		conn, failed := one(ctx)
		if failed == nil {
			c := &connection{dial: one, now: &link{conn: conn}}
			bounded, cancel := context.WithTimeout(ctx, reachTime)
			s = Side{Name: name, Key: key, Conn: c}
			_, failed = s.Header(bounded)
			if cancel(); failed == nil {
				return s, c.close, nil
			}
			c.close()
		}
		err = errors.Join(err, failed)
	}
	return s, nil, err
}

// connection is one that logs in again when what it shows counts no longer: tokens live for minutes.
type connection struct {
	dial Dial

	mu     sync.Mutex
	now    *link
	former []*link // that carry something yet
	// dialing is on its way to take the place of now; nil: nothing is.
	dialing *dialing
	closed  bool
}

// dialing is a connection that is made. What came of it stands there when done is closed.
type dialing struct {
	done chan struct{}
	err  error
	left bool // who made it has left, which says nothing of the endpoint
}

// errClosed says that what was used is not to be used any more.
var errClosed = errors.New("the connection is closed")

// link is one connection, and how many calls are on it.
type link struct {
	conn  *grpc.ClientConn
	calls int
}

// begin returns the link of a new call.
func (c *connection) begin() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.calls++
	return c.now
}

// end ends a call. A link that is not used any more, and not to be used, is closed by the last one.
func (c *connection) end(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.calls--
	if at := slices.Index(c.former, l); at >= 0 && l.calls == 0 {
		c.former = slices.Delete(c.former, at, at+1)
		l.conn.Close()
	}
}

// Invoke implements grpc.ClientConnInterface.
func (c *connection) Invoke(ctx context.Context, method string, in, out any, o ...grpc.CallOption) error {
	l := c.begin()
	defer c.end(l)
	err := l.conn.Invoke(ctx, method, in, out, o...)
	if !IsStale(err) {
		return err
	}
	if err := c.again(ctx, l); err != nil {
		return err
	}
	next := c.begin()
	defer c.end(next)
	return next.conn.Invoke(ctx, method, in, out, o...)
}

// IsStale reports whether what was shown counts no longer: the token is over, or of before a change of users or roles.
// While those are changed over and over it may be so again behind a login; whoever goes on to try gets there.
func IsStale(err error) bool {
	var refusal interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &refusal) {
		return false
	}
	err = refusal.GRPCStatus().Err() // etcd's errors are known by their whole text
	return status.Code(err) == codes.Unauthenticated || errors.Is(rpctypes.Error(err), rpctypes.ErrAuthOldRevision)
}

// IsLate reports whether there was no answer in time. Of a stream gRPC says so by its code alone.
func IsLate(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// NewStream implements grpc.ClientConnInterface.
func (c *connection) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, o ...grpc.CallOption,
) (grpc.ClientStream, error) {
	l := c.begin()
	end := sync.OnceFunc(func() { c.end(l) })
	s, err := l.conn.NewStream(ctx, desc, method, o...)
	if err != nil {
		end()
		return nil, err
	}
	context.AfterFunc(ctx, end)
	return &counted{s, end}, nil
}

// counted is a stream that is over when an error comes of it, or its context ends.
type counted struct {
	grpc.ClientStream
	end func()
}

func (s *counted) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		s.end()
	}
	return err
}

// again sees to another link in the place of one that is refused, which carries a call of who asks. Who else asks
// meanwhile waits for the same one, and nobody for a lock.
func (c *connection) again(ctx context.Context, refused *link) error {
	for {
		c.mu.Lock()
		if c.now != refused {
			c.mu.Unlock()
			return nil
		}
		d := c.dialing
		if d == nil {
			d = &dialing{done: make(chan struct{})}
			c.dialing = d
			c.mu.Unlock()
			return c.replace(ctx, d)
		}
		c.mu.Unlock()
		select {
		case <-d.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if d.err != nil && !d.left {
			return d.err
		}
	}
}

// replace puts another link in the place of the one that is used.
func (c *connection) replace(ctx context.Context, d *dialing) error {
	conn, err := c.dial(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
	case c.closed:
		conn.Close()
		err = errClosed
	default:
		c.former, c.now = append(c.former, c.now), &link{conn: conn}
	}
	d.err, d.left, c.dialing = err, ctx.Err() != nil, nil
	close(d.done)
	return err
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, l := range append(c.former, c.now) {
		l.conn.Close()
	}
}
