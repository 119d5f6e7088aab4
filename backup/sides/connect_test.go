package sides

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// A link whose token counts no longer is closed with the last call on it, and not before.
func TestFormerLinksAreClosed(t *testing.T) {
	dial := func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := &link{conn: conn}
	c := &connection{dial: dial, now: first}
	defer c.close()
	stream, refused := c.begin(), c.begin()
	for range 2 { // the second one finds it done
		if err := c.again(t.Context(), refused); err != nil {
			t.Fatal(err)
		}
	}
	if c.end(refused); len(c.former) != 1 || conn.GetState() == connectivity.Shutdown {
		t.Errorf("%d former ones, the first is %v with a stream on it", len(c.former), conn.GetState())
	}
	if c.end(stream); len(c.former) != 0 || conn.GetState() != connectivity.Shutdown {
		t.Errorf("%d former ones, the first is %v with nothing on it", len(c.former), conn.GetState())
	}
	if l := c.begin(); l == first || l.conn.GetState() == connectivity.Shutdown {
		t.Error("what is to be used is not a new one")
	}
}

// While another link is made, calls begin and end on the one that there is, and who else was refused waits for the
// same. What the link of somebody who has left came to says nothing to them.
func TestNobodyWaitsForALinkButWhoWasRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		dialed, answer := 0, make(chan error)
		open := func() *grpc.ClientConn {
			plain := grpc.WithTransportCredentials(insecure.NewCredentials())
			conn, err := grpc.NewClient("passthrough:nowhere", plain)
			if err != nil {
				t.Error(err)
			}
			return conn
		}
		c := &connection{dial: func(ctx context.Context) (*grpc.ClientConn, error) {
			dialed++
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case err := <-answer:
				if err != nil {
					return nil, err
				}
			}
			return open(), nil
		}}
		c.now = &link{conn: open()}
		first := c.now
		ctx, leave := context.WithCancel(t.Context())
		left, done := make(chan error, 1), make(chan error, 2)
		go func() { left <- c.again(ctx, first) }()
		virtual.Wait()
		for range 2 {
			go func() { done <- c.again(t.Context(), first) }()
		}
		virtual.Wait()
		if l := c.begin(); l != first || dialed != 1 {
			t.Errorf("another one is used before it is there: %t, dialed %d times", l != first, dialed)
		}
		c.end(first)
		leave()
		virtual.Wait()
		if err := <-left; !errors.Is(err, context.Canceled) || len(done) > 0 || dialed != 2 {
			t.Errorf("who left: %v; %d of the others have left, dialed %d times", err, len(done), dialed)
		}
		refused := errors.New("refused")
		answer <- refused
		for range 2 {
			if err := <-done; !errors.Is(err, refused) || dialed != 2 {
				t.Errorf("the word of the endpoint: %v, dialed %d times", err, dialed)
			}
		}
		go func() { done <- c.again(t.Context(), first) }()
		virtual.Wait()
		c.close()
		answer <- nil
		if err := <-done; !errors.Is(err, errClosed) || c.now != first {
			t.Errorf("behind the end: %v, another link %t", err, c.now != first)
		}
	})
}

// A call that is refused because users or roles were changed since the login is made once more, with another.
func TestAnOldTokenIsRenewed(t *testing.T) {
	for _, refusal := range []error{rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision} {
		dialed := 0
		dial := func(context.Context) (*grpc.ClientConn, error) {
			dialed++
			old := dialed == 1
			return grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker,
					...grpc.CallOption) error {
					if old {
						return refusal
					}
					return nil
				}))
		}
		s, leave, err := Connect(t.Context(), "the etcd", nil, dial, 1)
		if err != nil {
			t.Fatalf("%v: %v", refusal, err)
		}
		if _, err := s.Header(t.Context()); err != nil || dialed != 2 {
			t.Errorf("%v: dialed %d times: %v", refusal, dialed, err)
		}
		leave()
	}
}

// That a login counts no longer is known whatever was added to the error, and so is that there was no answer in time.
func TestWhatIsStaleOrLate(t *testing.T) {
	for _, test := range []struct {
		err         error
		stale, late bool
	}{
		{rpctypes.ErrGRPCAuthOldRevision, true, false}, {rpctypes.ErrGRPCInvalidAuthToken, true, false},
		{rpctypes.ErrGRPCTooManyOps, false, false}, {rpctypes.ErrGRPCPermissionDenied, false, false},
		{errors.New("something else"), false, false}, {context.DeadlineExceeded, false, true},
		{status.FromContextError(context.DeadlineExceeded).Err(), false, true},
	} {
		for _, err := range []error{test.err, fmt.Errorf("asked for something: %w", test.err)} {
			if stale, late := IsStale(err), IsLate(err); stale != test.stale || late != test.late {
				t.Errorf("%v: stale %t, late %t", err, stale, late)
			}
		}
	}
	if IsStale(nil) || IsLate(nil) {
		t.Error("no error is one")
	}
}

// Who logs in again does so where it is; who connects anew goes to the next endpoint.
func TestALoginIsRenewedWhereItIs(t *testing.T) {
	var dialed []string
	dial := InTurn([]string{"a", "b"}, func(_ context.Context, endpoint string) (*grpc.ClientConn, error) {
		dialed = append(dialed, endpoint)
		asked := 0
		return grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker,
				...grpc.CallOption) error {
				if asked++; asked > 1 { // than once with one login
					return rpctypes.ErrGRPCInvalidAuthToken
				}
				return nil
			}))
	})
	for range 3 {
		s, leave, err := Connect(t.Context(), "the fleet", nil, dial, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Header(t.Context()); err != nil {
			t.Error(err)
		}
		leave()
	}
	if got := strings.Join(dialed, " "); got != "a a b b a a" {
		t.Error(got)
	}
	dialed = nil
	refused := errors.New("it is not there")
	dial = InTurn([]string{"a", "b"}, func(_ context.Context, endpoint string) (*grpc.ClientConn, error) {
		dialed = append(dialed, endpoint)
		return nil, refused
	})
	if _, _, err := Connect(t.Context(), "the fleet", nil, dial, 3); !errors.Is(err, refused) {
		t.Error(err)
	}
	if got := strings.Join(dialed, " "); got != "a b a" {
		t.Error(got)
	}
}
