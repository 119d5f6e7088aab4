package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reachTime is how long an endpoint may take to say that it is there.
const reachTime = 5 * time.Second

// Dial connects, and logs in where somebody has to: to another endpoint each time, where there are several.
type Dial func(context.Context) (*grpc.ClientConn, error)

// Connect connects to the first endpoint that answers, of up to tries. The caller calls close.
func Connect(ctx context.Context, name string, dial Dial, tries int) (s Side, close func(), err error) {
	for range tries {
		conn, failed := dial(ctx)
		if failed == nil {
			c := &connection{dial: dial, now: conn}
			bounded, cancel := context.WithTimeout(ctx, reachTime)
			s = Side{Name: name, Conn: c}
			_, failed = s.header(bounded)
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
	now    *grpc.ClientConn
	former []*grpc.ClientConn // streams may still be on them
}

func (c *connection) current() *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Invoke implements grpc.ClientConnInterface.
func (c *connection) Invoke(ctx context.Context, method string, in, out any, o ...grpc.CallOption) error {
	conn := c.current()
	err := conn.Invoke(ctx, method, in, out, o...)
	if status.Code(err) != codes.Unauthenticated {
		return err
	}
	if conn, err = c.again(ctx, conn); err != nil {
		return err
	}
	return conn.Invoke(ctx, method, in, out, o...)
}

// NewStream implements grpc.ClientConnInterface.
func (c *connection) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, o ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return c.current().NewStream(ctx, desc, method, o...)
}

// again returns a connection in the place of one that is refused.
func (c *connection) again(ctx context.Context, refused *grpc.ClientConn) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != refused {
		return c.now, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.former, c.now = append(c.former, c.now), conn
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range append(c.former, c.now) {
		conn.Close()
	}
}
