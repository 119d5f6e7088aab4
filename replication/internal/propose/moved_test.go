package propose

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// renewing is a transport whose connections are made anew, once.
type renewing struct {
	transport.Transport
	leaving chan struct{} // of all streams that are opened, until it is closed

	mu     sync.Mutex
	opened []transport.Stream
}

func (r *renewing) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	s, err := r.Transport.Open(ctx, addr, service)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.opened = append(r.opened, s)
	r.mu.Unlock()
	select {
	case <-r.leaving:
		return s, nil
	default:
		return &leavingStream{s, r.leaving}, nil
	}
}

type leavingStream struct {
	transport.Stream
	leaving <-chan struct{}
}

func (s *leavingStream) Leaving() <-chan struct{} { return s.leaving }

// A connection that is made anew costs no write its answer: what was sent is waited for, what was not and what comes
// goes over the next one, and then the former is not used any more.
func TestAConnectionThatIsLeftCostsNoAnswer(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		way := &renewing{Transport: n.Node("b"), leaving: make(chan struct{})}
		a, b := newMember(t, n.Node("a")), newMember(t, way)
		a.route, b.route, a.may = standing.Route{Local: true}, standing.Route{Addr: "a"}, true
		a.Lead(1)
		free := busy(t, a)
		const writes = 3
		done := make(chan error, 2*writes)
		put := func() {
			_, err := b.put(t.Context(), "w", Options{})
			done <- err
		}
		for range writes {
			go put()
		}
		virtual.Wait()
		close(way.leaving)
		for range writes {
			go put()
		}
		time.Sleep(time.Minute)
		virtual.Wait()
		if len(done) > 0 || len(way.opened) != 2 {
			t.Fatalf("%d are answered, %d connections", len(done), len(way.opened))
		}
		if way.opened[0].Context().Err() != nil {
			t.Fatal("the former connection ended before its answers were there")
		}
		free()
		for range 2 * writes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		virtual.Wait()
		if way.opened[0].Context().Err() == nil || way.opened[1].Context().Err() != nil {
			t.Error("the former connection is used on, or the next one is not")
		}
		a.stop()
		b.stop()
	})
}

// unanswering is a transport on which nobody at the address "gone" answers who would connect.
type unanswering struct{ transport.Transport }

func (u unanswering) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if addr == "gone" {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return u.Transport.Open(ctx, addr, service)
}

// TestWhatWaitsForAConnectionGoesWhereWritesGo by now: nothing of it was sent.
func TestWhatWaitsForAConnectionGoesWhereWritesGo(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		b.forwarder.transport = unanswering{b.transport}
		route := func(addr string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.route = standing.Route{Addr: addr}
		}
		route("gone")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := b.put(ctx, "x", Options{})
			done <- err
		}()
		time.Sleep(5 * time.Second)
		route("") // nobody is known: it may be that one again
		time.Sleep(5 * time.Second)
		if len(done) > 0 {
			t.Fatal(<-done)
		}
		route("a")
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
