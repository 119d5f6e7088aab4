package reads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// member is a node of which only the reads are real. It is its own Raft group, standing, fleet and writes.
type member struct {
	*Reads
	t       *testing.T
	life    *life.Life
	applied *region.Applied
	close   func() error

	mu        sync.Mutex
	route     standing.Route
	loss      *standing.Loss
	settled   bool // the other regions were asked, and none has a higher claim
	open      bool
	term      uint64
	index     uint64 // of the region's last commit
	confirms  int
	refreshes int
	picture   fleet.View
	slow      chan struct{} // if not nil, a confirmation waits for it

	bounded bool // what a failover may lose
	claim   timeline.Reign
	safe    contract.Position
	settles chan struct{} // what is asked for waits for it
	fails   error
	asked   []contract.Position
}

// pair runs f in a bubble with a node of the primary region and one of a secondary.
func pair(t *testing.T, f func(t *testing.T, us, eu *member)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		us, eu := newMember(t, n.Node("us"), "us"), newMember(t, n.Node("eu"), "eu")
		us.route, us.open, us.settled = standing.Route{Local: true}, true, true
		eu.route = standing.Route{Addr: "us"}
		f(t, us, eu)
		for _, m := range []*member{us, eu} {
			m.life.Close()
			if err := m.close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// at is the view of a history that the region us began.
func at(name string, index uint64, p contract.Position) *region.View {
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	return &region.View{Index: index, State: timeline.State{
		Region: name, Cursor: timeline.Cursor{Epoch: 1, Position: p}, Reigns: []timeline.Reign{reign},
	}}
}

func newMember(t *testing.T, tr transport.Transport, name string) *member {
	t.Helper()
	m := &member{t: t, life: life.New(clock.Real, slog.New(slog.DiscardHandler)), close: tr.Close}
	m.applied = region.NewApplied(at(name, 5, 3), m.life)
	m.Reads = New(Config{
		Region: name, Group: m, Standing: m, Fleet: m, Writes: m, Applied: m.applied, Client: peer.NewClient(tr),
		Life: m.life, Clock: clock.Real, Timeout: time.Second,
		OnAsk: func(_ context.Context, request []byte) ([]byte, error) {
			if string(request) == "bad" {
				return nil, errors.New("makes no sense")
			}
			return append([]byte(name+" heard "), request...), nil
		},
	})
	questions := peer.NewRegistry(m.life.Err, nil)
	m.Register(questions)
	if err := tr.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.life.Begin(), m.life.Ready()); err != nil {
		t.Fatal(err)
	}
	m.life.EndStart()
	return m
}

func (m *member) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *member) ReadIndex(ctx context.Context) (uint64, error) {
	m.mu.Lock()
	m.confirms++
	index, slow := m.index, m.slow
	m.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return index, nil
}

func (m *member) Primary() bool { return m.applied.State().Role() == timeline.Primary }

func (m *member) Claim() timeline.Reign {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.claim
}

func (m *member) Confirms() bool { return m.Primary() }

func (m *member) Route() standing.Route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.route
}

func (m *member) Loss(fleet.View, *timeline.State, timeline.Position) *standing.Loss { return m.loss }

func (m *member) View() (fleet.View, <-chan struct{}) { return m.picture, nil }

func (m *member) Entitled(s *timeline.State) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.Writable() && m.settled
}

func (m *member) Refresh() { m.set(func() { m.refreshes++ }) }

func (m *member) Tenure() contract.Tenure {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return contract.Tenure{}
	}
	return contract.Tenure{Term: m.term, Epoch: 1}
}

func (m *member) Settled(*timeline.State) (contract.Position, bool) { return m.safe, m.bounded }

func (m *member) Settle(ctx context.Context, at region.Place) error {
	m.mu.Lock()
	m.asked = append(m.asked, at.Position)
	settles, fails := m.settles, m.fails
	m.mu.Unlock()
	if fails != nil {
		return fails
	}
	select {
	case <-settles:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", contract.ErrNotReady, ctx.Err())
	}
}

// read begins a linearizable read, and tells when it may go on.
func (m *member) read() <-chan error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	go func() {
		defer cancel()
		done <- m.Barrier(ctx, contract.Linearizable)
	}()
	return done
}

// pending checks that nothing came yet.
func pending(t *testing.T, done <-chan error) {
	t.Helper()
	virtual.Wait()
	select {
	case err := <-done:
		t.Fatalf("too early: %v", err)
	default:
	}
}

func TestAReadWaitsForWhatWasAcknowledged(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.index = 7 })
		done := us.read()
		pending(t, done)
		us.applied.Publish(at("us", 6, 4))
		pending(t, done)
		us.applied.Publish(at("us", 7, 5))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := us.Barrier(t.Context(), contract.Serializable); err != nil || us.confirms != 1 {
			t.Errorf("a read of what is here: %v, %d confirmations", err, us.confirms)
		}
	})
}

func TestAReadAtASecondaryWaitsForTheStream(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.applied.Publish(at("us", 9, 8))
		done := eu.read()
		pending(t, done)
		eu.applied.Publish(at("eu", 40, 7))
		pending(t, done)
		eu.applied.Publish(at("eu", 41, 8))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// A read takes part in no confirmation that began before it, and many reads share one that began after.
func TestReadsShareConfirmationsThatBeganAfterThem(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		slow := make(chan struct{})
		us.set(func() { us.slow = slow })
		var reads []<-chan error
		for i := range maxRounds {
			reads = append(reads, us.read())
			virtual.Wait()
			if us.confirms != i+1 {
				t.Fatalf("%d confirmations for %d reads, one after the other", us.confirms, i+1)
			}
		}
		for range 100 {
			reads = append(reads, us.read())
		}
		virtual.Wait()
		if us.confirms != maxRounds {
			t.Fatalf("%d confirmations at once", us.confirms)
		}
		close(slow)
		for _, r := range reads {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		if us.confirms != maxRounds+1 {
			t.Errorf("%d confirmations for 100 reads that came together", us.confirms-maxRounds)
		}
	})
}

// While a handoff is open the next epoch may have begun elsewhere. The read waits until the region knows.
func TestNoPlaceIsConfirmedWhileSealed(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		sealed := at("us", 6, 3)
		sealed.State.Seal = &timeline.Seal{Epoch: 1, Position: 3, To: "eu", Handoff: 1}
		us.applied.Publish(sealed)
		if c, err := us.Confirmed(t.Context()); !errors.Is(err, contract.ErrNotReady) {
			t.Fatalf("confirmed %+v, %v", c, err)
		}
		here, there := us.read(), eu.read()
		pending(t, here)
		pending(t, there)
		us.applied.Publish(at("us", 7, 3)) // the seal is lifted
		for _, done := range []<-chan error{here, there} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if us.refreshes == 0 || eu.refreshes == 0 {
			t.Error("nobody asked for news of who is primary")
		}
	})
}

// A region that was not told yet whether another took over, or knows that one did, confirms nothing.
func TestNoPlaceIsConfirmedWithoutTheRight(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.picture = fleet.View{Regions: map[string]fleet.Region{"eu": {}}} // of a moment ago; they were asked by now
		if _, err := us.Confirmed(t.Context()); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("while nothing is known of a loss: %v", err)
		}
		us.picture = fleet.View{Regions: map[string]fleet.Region{"eu": {Tries: 1}}}
		if _, err := us.Confirmed(t.Context()); err != nil {
			t.Error(err)
		}
		us.set(func() { us.settled = false })
		if _, err := us.Confirmed(t.Context()); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("before the others were asked: %v", err)
		}
		if _, err := eu.Confirmed(t.Context()); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("at a secondary: %v", err)
		}
		done := eu.read()
		pending(t, done)
		us.set(func() { us.settled = true })
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		us.set(func() { us.settled = false })
		if err := us.Barrier(ctx, contract.Linearizable); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("time is over: %v", err)
		}
	})
}

func TestWithoutAPrimaryNothingIsConfirmed(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		eu.set(func() { eu.route = standing.Route{} })
		done := eu.read()
		pending(t, done)
		if _, err := eu.Ask(ended(t), nil); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("a question to nobody: %v", err)
		}
		eu.set(func() { eu.route = standing.Route{Addr: "us"} })
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ended returns a context whose time is over.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestPositionsAreWaitedFor(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		if err := us.WaitPosition(t.Context(), 3); err != nil {
			t.Error(err)
		}
		if err := us.WaitPosition(ended(t), 4); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("time is over: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- us.WaitPosition(t.Context(), 4) }()
		pending(t, done)
		us.applied.Publish(at("us", 6, 4))
		if err := <-done; err != nil {
			t.Error(err)
		}
		go func() { done <- us.WaitPosition(t.Context(), 99) }()
		virtual.Wait()
		us.life.Close()
		if err := <-done; !errors.Is(err, contract.ErrClosed) {
			t.Errorf("the node stops: %v", err)
		}
		_, asked := us.Ask(t.Context(), nil)
		for _, err := range []error{
			us.WaitPosition(t.Context(), 1), us.Barrier(t.Context(), contract.Serializable), asked,
		} {
			if !errors.Is(err, contract.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
	})
}

func TestQuestionsReachTheNodeThatTakesWrites(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		for _, m := range []*member{us, eu} {
			if got, err := m.Ask(t.Context(), []byte("x")); err != nil || string(got) != "us heard x" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := m.Ask(t.Context(), []byte("bad")); !errors.Is(err, contract.ErrRejected) {
				t.Errorf("refused: %v", err)
			}
		}
		us.set(func() { us.open = false })
		done := make(chan error, 1)
		go func() {
			got, err := eu.Ask(t.Context(), []byte("late"))
			if err == nil && string(got) != "us heard late" {
				err = fmt.Errorf("got %q", got)
			}
			done <- err
		}()
		time.Sleep(time.Second)
		pending(t, done)
		us.set(func() { us.open = true })
		if err := <-done; err != nil {
			t.Error(err)
		}
		us.config.OnAsk = nil
		if _, err := us.Ask(t.Context(), []byte("x")); !errors.Is(err, contract.ErrRejected) {
			t.Errorf("no OnAsk: %v", err)
		}
	})
}

// The end of a read that was not confirmed is of the kind that it has, whatever ended the confirmation; and none is
// under way when the node is gone.
func TestAReadThatEndsSaysWhy(t *testing.T) {
	pair(t, func(t *testing.T, us, _ *member) {
		us.set(func() { us.slow = make(chan struct{}) })
		short, cancel := context.WithTimeout(t.Context(), us.config.Timeout) // as long as a confirmation
		defer cancel()
		if err := us.Barrier(short, contract.Linearizable); peer.Kind(err) != contract.ErrNotReady ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no time is left: %v", err)
		}
		done := us.read()
		virtual.Wait()
		us.life.Close()
		us.life.Wait()
		if us.barrier.running != 0 { // nobody holds the lock any more
			t.Errorf("%d confirmations outlive the node", us.barrier.running)
		}
		if err := <-done; peer.Kind(err) != contract.ErrClosed {
			t.Errorf("the node ends: %v", err)
		}
		if _, err := us.barrier.wait(t.Context()); !errors.Is(err, contract.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A node that stood still answers from memory; by the time it can confirm that it leads, it does not. The question goes
// to its successor.
func TestADeposedLeaderGivesNoAnswer(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		slow := make(chan struct{})
		us.set(func() { us.slow = slow })
		done := make(chan string, 1)
		ask := func(m *member) {
			got, err := m.Ask(t.Context(), []byte("x"))
			done <- fmt.Sprintf("%s %v", got, err)
		}
		for _, m := range []*member{us, eu} {
			go ask(m)
			virtual.Wait() // it has answered, and is asked whether it leads
			us.set(func() { us.term++ })
			if us.slow != nil {
				close(slow)
			}
			us.set(func() { us.slow = nil })
			if got := <-done; got != "us heard x <nil>" || us.confirms != 2 {
				t.Errorf("%s, after %d confirmations", got, us.confirms)
			}
			slow = make(chan struct{})
			us.set(func() { us.slow, us.confirms = slow, 0 })
		}
	})
}

// A question does not wait for a node that stands still when another one takes the writes by now, and no answer waits
// for a confirmation that does not come.
func TestAQuestionLeavesANodeThatStandsStill(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.config.OnAsk = func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		done := make(chan error, 1)
		go func() {
			got, err := eu.Ask(t.Context(), []byte("x"))
			if err == nil && string(got) != "eu heard x" {
				err = fmt.Errorf("got %q", got)
			}
			done <- err
		}()
		time.Sleep(time.Minute)
		pending(t, done)
		eu.applied.Publish(at("us", 9, 8)) // for the test it is of the primary region now
		eu.set(func() { eu.route, eu.open, eu.settled = standing.Route{Local: true}, true, true })
		began := time.Now()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("after %v", took)
		}
	})
}
