package propose

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// What turns out not to be written is sent anew for whoever still waits, and for nobody else: it would be written at
// any time later.
func TestWhatNobodyWaitsForIsNotSentAnew(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.hold()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.put(ctx, "left", Options{})
		if !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("left: %v", err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := a.put(t.Context(), "stays", Options{})
			done <- err
		}()
		virtual.Wait()
		if a.frames() != 2 {
			t.Fatalf("%d frames in flight", a.frames())
		}
		a.mu.Lock()
		a.held, a.holding = nil, false
		a.mu.Unlock()
		a.StepDown()
		a.Resolve([]region.Outcome{{Term: 2, Index: 1}}) // so that both are lost
		a.Lead(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if a.frames() != 3 || !a.parking.empty() {
			t.Errorf("%d frames, nothing parked: %t", a.frames(), a.parking.empty())
		}
	})
}

// busy makes what is proposed to a wait behind frames that are not applied, until the function that it returns is
// called.
func busy(t *testing.T, a *member) (free func()) {
	t.Helper()
	a.hold()
	done := make(chan error, maxFlights)
	for range maxFlights {
		go func() {
			_, err := a.put(t.Context(), "before", Options{})
			done <- err
		}()
		virtual.Wait()
	}
	if a.frames() != maxFlights {
		t.Fatalf("%d frames in flight", a.frames())
	}
	return func() {
		a.mu.Lock()
		a.holding = false
		a.mu.Unlock()
		a.release()
		for range maxFlights {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

// What another node forwarded is not written when its caller has given up, as long as no frame has it: his deadline
// travels with it. Nor when the stream has ended on which he would be told.
func TestWhatWasForwardedEndsWithItsCaller(t *testing.T) {
	for what, give := range map[string]func(a, b *member) context.Context{
		"his time is over": func(_, b *member) context.Context {
			ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
			b.t.Cleanup(cancel)
			return ctx
		},
		"his node is gone": func(_, b *member) context.Context {
			time.AfterFunc(time.Second, func() { b.life.Close() })
			return b.t.Context()
		},
		"he has left": func(_, b *member) context.Context {
			ctx, cancel := context.WithCancel(b.t.Context())
			time.AfterFunc(time.Second, cancel)
			return ctx
		},
	} {
		fleetOf(t, plain, func(t *testing.T, a, b *member) {
			free := busy(t, a)
			_, err := b.put(give(a, b), "late", Options{})
			if err == nil {
				t.Errorf("%s: written", what)
			}
			time.Sleep(24 * time.Hour)
			free()
			time.Sleep(time.Minute)
			if a.frames() != maxFlights {
				t.Errorf("%s: written a day later", what)
			}
			if _, err := a.put(t.Context(), "next", Options{}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// waits notes who waits for further regions, which never come.
type waits struct {
	*member
	mu   sync.Mutex
	left []func() bool
}

func (w *waits) Await(_ int, _ *contract.Receipt, _ time.Time, left func() bool, _ func(*contract.Receipt, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = append(w.left, left)
}

// wait returns how many have not left.
func (w *waits) wait() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, left := range w.left {
		if !left() {
			n++
		}
	}
	return n
}

// Who waits for further regions without a deadline, and leaves, is known to have left: on this node, on another one,
// when that other one is gone, and who only asked whether what he read is there.
func TestWhoWaitsForFurtherRegionsAndLeaves(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		w := &waits{member: a}
		s := &strict{lapsed: &lapsed{member: a}, bound: timeline.Position(timeline.NoBound)}
		a.pipeline.durability, a.config.Durability = w, s
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		put := func(ctx context.Context, m *member) {
			callers.Go(func() {
				if _, err := m.put(ctx, "x", Options{Regions: 2}); !errors.Is(err, contract.ErrUnknownOutcome) {
					t.Errorf("left, and told %v", err)
				}
			})
		}
		put(ctx, a)
		put(ctx, b)
		put(t.Context(), b)
		virtual.Wait()
		a.config.Standing, a.pipeline.standing = s, s
		callers.Go(func() {
			if err := a.Settle(ctx, region.PlaceOf(a.applied.State())); !errors.Is(err, contract.ErrNotReady) {
				t.Errorf("left, and told %v", err)
			}
		})
		time.Sleep(time.Hour)
		if n := w.wait(); n != 4 {
			t.Errorf("%d wait of 4", n)
		}
		cancel()
		virtual.Wait()
		if n := w.wait(); n != 1 {
			t.Errorf("%d wait of whom one has not left", n)
		}
		b.life.Close()
		virtual.Wait()
		if n := w.wait(); n != 0 {
			t.Errorf("%d wait on a node that is gone", n)
		}
		callers.Wait()
	})
}

// Whoever asks a leader that stands still, or is cut off, learns that nobody knows soon after another takes the writes,
// also if he would wait for ever; not while the leader answers, and not before another is known.
func TestALeaderThatAnswersNoMoreIsNotWaitedFor(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.hold()
		done := make(chan error, 1)
		go func() {
			_, err := b.put(t.Context(), "stranded", Options{})
			done <- err
		}()
		virtual.Wait()
		lead := func(to standing.Route) {
			b.mu.Lock()
			b.route = to
			b.mu.Unlock()
		}
		for _, to := range []standing.Route{{Addr: "a"}, {}} {
			lead(to)
			if time.Sleep(time.Hour); len(done) != 0 {
				t.Fatalf("with writes going to %+v: %v", to, <-done)
			}
		}
		lead(standing.Route{Addr: "c"})
		began := time.Now()
		if err := <-done; !errors.Is(err, contract.ErrUnknownOutcome) || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		a.release()
	})
}

// To a node that does not know of callers that leave nothing is said, and writes go on.
func TestALeaderOfBeforeIsNotToldWhoLeft(t *testing.T) {
	wrap := func(t transport.Transport) transport.Transport { return older{t, ServiceParts} }
	fleetOf(t, wrap, func(t *testing.T, a, b *member) {
		free := busy(t, a)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := b.put(ctx, "left", Options{}); !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		free()
		if _, err := b.put(t.Context(), "next", Options{}); err != nil {
			t.Error(err)
		}
	})
}

// refusing takes no stream until it is over.
type refusing struct {
	transport.Transport
	over *atomic.Bool
}

func (r refusing) Serve(services map[string]transport.Handler) error {
	barred := map[string]transport.Handler{}
	for name, handle := range services {
		barred[name] = func(ctx context.Context, s transport.Stream) error {
			if !r.over.Load() {
				return fmt.Errorf("%w: not yet", transport.ErrStranger)
			}
			return handle(ctx, s)
		}
	}
	return r.Transport.Serve(barred)
}

// Who is refused as a stranger has had nothing taken, and what he sent waits as long as his caller does: the leader may
// not have heard yet that the region is one of the fleet. The caller leaves between two attempts: during one he cannot
// know what became of it.
func TestWhatAStrangerSentWasNotTaken(t *testing.T) {
	var over atomic.Bool
	wrap := func(t transport.Transport) transport.Transport { return refusing{t, &over} }
	fleetOf(t, wrap, func(t *testing.T, a, b *member) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+retryEvery/2)
		defer cancel()
		if _, err := b.put(ctx, "given up", Options{}); !errors.Is(err, contract.ErrNotReady) {
			t.Error(err)
		}
		time.AfterFunc(10*time.Second, func() { over.Store(true) })
		if r, err := b.put(t.Context(), "waits", Options{}); err != nil || r.Position != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
