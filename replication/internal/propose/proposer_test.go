package propose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// member is a node of which only the proposer is real: its log is applied as soon as it is written, unless it is held.
type member struct {
	*Proposer
	t         *testing.T
	life      *life.Life
	transport transport.Transport
	answer    int // bytes of each result

	applying sync.Mutex // outcomes are told in the order of the log

	mu           sync.Mutex
	route        standing.Route
	may, ceiling bool
	machine      *timeline.Machine
	held         []region.Outcome // written and not applied
	holding      bool
	written      int // frames
	applied      *region.Applied
	later        timeline.Reign // is known to have begun; zero: none is
}

// fleetOf runs f in a bubble with the node "a", which takes writes, and "b", which forwards them to it.
func fleetOf(t *testing.T, wrap func(transport.Transport) transport.Transport, f func(t *testing.T, a, b *member)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a, b := newMember(t, wrap(n.Node("a"))), newMember(t, n.Node("b"))
		a.route, b.route, a.may = standing.Route{Local: true}, standing.Route{Addr: "a"}, true
		a.Lead(1)
		f(t, a, b)
		a.stop()
		b.stop()
	})
}

func plain(t transport.Transport) transport.Transport { return t }

func newMember(t *testing.T, tr transport.Transport) *member {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	m := &member{t: t, life: life.New(clock.Real, logger), transport: tr}
	m.machine = timeline.NewMachine(&timeline.State{Region: "us"})
	if _, _, err := m.machine.Reign(timeline.Reign{Epoch: 1, First: 1, Primary: "us"}); err != nil {
		t.Fatal(err)
	}
	m.applied = region.NewApplied(&region.View{State: m.machine.State()}, m.life)
	m.Proposer = New(Config{
		Group: memberLog{m}, Standing: m, Fleet: m, Durability: m, Applied: m.applied, Life: m.life,
		Transport: tr, Clock: clock.Real, Logger: logger,
		Regions: func() int { return 3 }, MaxCommandBytes: 1 << 20, FrameBytes: 1 << 10, WindowBytes: 1 << 20,
	})
	services := map[string]transport.Handler{Service: m.Serve, ServiceParts: m.Serve, ServiceWhole: m.ServeWhole}
	if err := tr.Serve(services); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.life.Begin(), m.life.Ready()); err != nil {
		t.Fatal(err)
	}
	m.life.Go(m.Run)
	m.life.EndStart()
	return m
}

func (m *member) stop() {
	m.life.Close()
	m.Abandon(m.life.Failure())
	m.Wait()
	m.life.Wait()
	if err := m.transport.Close(); err != nil {
		m.t.Error(err)
	}
	if err := m.pipeline.valid(); err != nil {
		m.t.Error(err)
	}
}

func (m *member) Refresh() {}

func (*member) Admits(timeline.Epoch, timeline.Position) (int, bool) { return 1, true }
func (*member) Deposed(timeline.Epoch) bool                          { return false }
func (*member) Inherited(timeline.Epoch, timeline.Position) bool     { return false }

func (*member) Bound(*timeline.State) (timeline.Position, int, bool) { return 0, 1, false }
func (*member) Reached(int, *timeline.State) timeline.Position       { return 0 }

func (m *member) Route() standing.Route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.route
}

func (m *member) MayWrite(timeline.Position) (at timeline.Cursor, reigns, below bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.State().Cursor, m.may, m.may && !m.ceiling
}

// Await answers that one region less has it than was asked for.
func (m *member) Await(k int, r *contract.Receipt, _ time.Time, _ func() bool, done func(*contract.Receipt, error)) {
	r.Regions = k - 1
	done(r, contract.ErrUnderReplicated)
}

// memberLog is a member's Group.
type memberLog struct{ *member }

func (m memberLog) Propose(_ context.Context, term uint64, payloads [][]byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range payloads {
		m.held = append(m.held, m.judge(term, p))
	}
	if !m.holding {
		go m.release() // as the applier does: later, and not on the pipeline's goroutine
	}
	return 1, nil
}

// judge applies an entry. The caller holds mu.
func (m *member) judge(term uint64, p []byte) region.Outcome {
	kind, err := timeline.KindOf(p)
	o := region.Outcome{Term: term, Index: 1}
	switch {
	case err != nil:
	case kind == timeline.KindFrame:
		var f timeline.Frame
		if err = timeline.DecodeFrame(p, &f); err != nil {
			break
		}
		m.written++
		o.Epoch, o.First = f.Epoch, f.First
		for _, c := range f.Commands {
			o.Results = append(o.Results, m.resultOf(c.Data))
		}
		o.Outcome, o.Why, err = m.machine.Frame(&f)
	case kind == timeline.KindReign:
		var r timeline.Reign
		if r, err = timeline.DecodeReign(p); err == nil {
			o.Reign = &r
			o.Outcome, o.Why, err = m.machine.Reign(r)
		}
	case kind == timeline.KindControl:
		var c *timeline.Control
		if c, err = timeline.DecodeControl(p); err == nil {
			o.Token = c.Token
			o.Outcome, o.Why, err = m.machine.Control(c)
		}
	}
	if err != nil {
		m.t.Error(err)
	}
	return o
}

// release applies what is held.
func (m *member) release() {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	outcomes := m.held
	m.held = nil
	m.applied.Publish(&region.View{State: m.machine.State()})
	m.mu.Unlock()
	m.Resolve(outcomes)
	if err := m.pipeline.valid(); err != nil {
		m.t.Error(err)
	}
}

func (m *member) hold() {
	m.mu.Lock()
	m.holding = true
	m.mu.Unlock()
}

func (m *member) frames() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written
}

func (m *member) put(ctx context.Context, data string, o Options) (*contract.Receipt, error) {
	return m.Propose(ctx, []*contract.Command{{Data: []byte(data)}}, o)
}

func TestAWriteComesBackFromEitherNode(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		for i, m := range []*member{a, b, a, b} {
			data := fmt.Sprint("c", i)
			r, err := m.put(t.Context(), data, Options{})
			if err != nil || r.Position != contract.Position(i+1) || r.Epoch != 1 || string(r.Results[0]) != data {
				t.Fatalf("%s: %+v, %v", data, r, err)
			}
		}
	})
}

func TestManyWritesOfBothNodesAreAllAnswered(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[contract.Position]bool{}
		for i := range 500 {
			m := []*member{a, b}[i%2]
			wg.Go(func() {
				r, err := m.put(t.Context(), fmt.Sprint("c", i), Options{})
				mu.Lock()
				defer mu.Unlock()
				if err != nil || seen[r.Position] || string(r.Results[0]) != fmt.Sprint("c", i) {
					t.Errorf("c%d: %+v, %v", i, r, err)
					return
				}
				seen[r.Position] = true
			})
		}
		wg.Wait()
		if len(seen) != 500 || !seen[500] {
			t.Errorf("%d positions", len(seen))
		}
	})
}

// What the leader refuses to take for good, it refuses from afar as well.
func TestWhatNobodyTakesIsRefused(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		b.config.Regions, b.config.MaxCommandBytes = func() int { return 9 }, 2<<20 // so that only the leader refuses
		for _, m := range []*member{a, b} {
			if _, err := m.put(
				t.Context(), string(make([]byte, 1<<20+1)), Options{},
			); !errors.Is(err, contract.ErrTooLarge) {
				t.Errorf("too large: %v", err)
			}
			if _, err := m.Propose(t.Context(), nil, Options{}); !errors.Is(err, contract.ErrRejected) {
				t.Errorf("no commands: %v", err)
			}
			_, err := m.put(t.Context(), "x", Options{Regions: 4})
			if !errors.Is(err, contract.ErrUnknownRegion) && !errors.Is(err, contract.ErrRejected) {
				t.Errorf("more regions than there are: %v", err)
			}
		}
		if a.frames() != 0 {
			t.Error("something was written")
		}
	})
}

func TestFurtherRegionsAreWaitedFor(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		for _, m := range []*member{a, b} {
			r, err := m.put(t.Context(), "x", Options{Regions: 3})
			if !errors.Is(err, contract.ErrUnderReplicated) || r == nil || r.Regions != 2 ||
				string(r.Results[0]) != "x" {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}

// A node that takes no writes sends them back, and they wait for one that does.
func TestAWriteWaitsForALeader(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.StepDown()
		done := make(chan error, 2)
		for _, m := range []*member{a, b} {
			go func() {
				_, err := m.put(t.Context(), "x", Options{})
				done <- err
			}()
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+retryEvery/2) // not while it is sent once more
		defer cancel()
		if _, err := b.put(ctx, "given up", Options{}); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("given up: %v", err)
		}
		if len(done) != 0 || a.frames() != 0 {
			t.Fatal("written without a leader")
		}
		a.Lead(2)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if at := a.applied.State().Cursor.Position; at != 2 {
			t.Errorf("%d commands, although one was given up", at)
		}
	})
}

// Once a frame is with raft nobody may say that it is not written.
func TestACallerThatLeavesALateWriteKnowsNothing(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.hold()
		for _, m := range []*member{a, b} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := m.put(ctx, "late", Options{}); !errors.Is(err, contract.ErrUnknownOutcome) {
				t.Errorf("left: %v", err)
			}
			cancel()
		}
		a.release()
	})
}

// Whoever waits while a node stops is told so, and nothing is left behind.
func TestAStoppingNodeAnswersEverybody(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.hold()
		done := make(chan error, 4)
		put := func(m *member) {
			_, err := m.put(t.Context(), "x", Options{})
			done <- err
		}
		go put(a)
		go put(b)
		virtual.Wait()
		a.StepDown()
		go put(a) // parked
		virtual.Wait()
		go func() {
			_, err := a.Control(t.Context(), &timeline.Control{Op: timeline.OpSlots})
			done <- err
		}()
		virtual.Wait()
		if err := <-done; !errors.Is(err, contract.ErrNotLeader) {
			t.Errorf("a control at a follower: %v", err)
		}
		a.stop()
		for range 3 {
			if err := <-done; !errors.Is(err, contract.ErrClosed) && !errors.Is(err, contract.ErrUnknownOutcome) {
				t.Errorf("ended with %v", err)
			}
		}
		if _, err := a.put(t.Context(), "x", Options{}); !errors.Is(err, contract.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestControlsAndBeginningsTellTheirOutcome(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		o, err := a.Control(t.Context(), &timeline.Control{Op: timeline.OpSeal, Epoch: 1, To: "eu", Handoff: 1})
		if err != nil || o.Outcome != timeline.Applied {
			t.Fatalf("seal: %+v, %v", o, err)
		}
		r, err := a.Begin(t.Context(), timeline.Reign{Epoch: 3, Primary: "us", Lossy: true})
		if err != nil || r.First != 1 || r.Nonce == [16]byte{} {
			t.Fatalf("begin: %+v, %v", r, err)
		}
		if _, err := a.Begin(
			t.Context(), timeline.Reign{Epoch: 2, Primary: "us"},
		); !errors.Is(err, contract.ErrRejected) {
			t.Fatalf("an epoch of the past: %v", err)
		}
		if _, err := b.Begin(
			t.Context(), timeline.Reign{Epoch: 9, Primary: "us"},
		); !errors.Is(err, contract.ErrNotLeader) {
			t.Fatalf("at a follower: %v", err)
		}
		if _, err := a.put(t.Context(), "x", Options{}); err != nil {
			t.Fatal(err)
		}
	})
}

// older is the transport of a node that knows the service of a version before, and those of before that.
type older struct {
	transport.Transport
	service string
}

func (o older) Serve(all map[string]transport.Handler) error {
	known := map[string]transport.Handler{}
	for _, name := range services[slices.Index(services, o.service):] {
		known[name] = all[name]
	}
	return o.Transport.Serve(known)
}

// Results that fit no message come in parts, and go on coming. From a node that knows no parts they cost the proposal
// its answer, not the others theirs.
func TestAnAnswerThatFitsNoMessageComesInParts(t *testing.T) {
	for _, newest := range []string{Service, ServiceWhole} {
		knows := newest != ServiceWhole
		wrap := func(t transport.Transport) transport.Transport { return older{t, newest} }
		fleetOf(t, wrap, func(t *testing.T, a, b *member) {
			const huge = transport.MaxMessageBytes + maxPartBytes/2
			for i, bytes := range []int{0, huge, 0} {
				a.mu.Lock()
				a.answer = bytes
				a.mu.Unlock()
				r, err := b.put(t.Context(), "x", Options{})
				switch {
				case bytes == huge && !knows:
					if !errors.Is(err, contract.ErrUnknownOutcome) {
						t.Errorf("%d: huge from an older node: %v", i, err)
					}
				case err != nil || r.Position != contract.Position(i+1) || len(r.Results[0]) != 1+bytes:
					t.Errorf("%d: %d bytes, knows parts %t: %v", i, bytes, knows, err)
				}
			}
		})
	}
}

// breaking is a transport whose handlers' streams fail to send while it is broken.
type breaking struct {
	transport.Transport
	mu     sync.Mutex
	broken bool
	opened int
}

type breakingStream struct {
	transport.Stream
	owner *breaking
}

func (b *breaking) Serve(services map[string]transport.Handler) error {
	wrapped := map[string]transport.Handler{}
	for name, h := range services {
		wrapped[name] = func(ctx context.Context, s transport.Stream) error {
			b.mu.Lock()
			b.opened++
			b.mu.Unlock()
			return h(ctx, &breakingStream{s, b})
		}
	}
	return b.Transport.Serve(wrapped)
}

func (b *breaking) set(broken bool) {
	b.mu.Lock()
	b.broken = broken
	b.mu.Unlock()
}

func (s *breakingStream) Send(p []byte) error {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	if s.owner.broken {
		return transport.ErrTooLarge
	}
	return s.Stream.Send(p)
}

// When answers cannot be sent, the node that waits for them learns it, nothing more is taken from the stream, and the
// next proposal makes a new one.
func TestOneHalfOfAStreamEndsTheOther(t *testing.T) {
	var b0 *breaking
	wrap := func(t transport.Transport) transport.Transport {
		b0 = &breaking{Transport: t}
		return b0
	}
	fleetOf(t, wrap, func(t *testing.T, a, b *member) {
		if _, err := b.put(t.Context(), "first", Options{}); err != nil {
			t.Fatal(err)
		}
		b0.set(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := b.put(ctx, "unanswered", Options{})
		if !errors.Is(err, contract.ErrUnknownOutcome) || ctx.Err() != nil {
			t.Fatalf("unanswered: %v; the caller's time: %v", err, ctx.Err())
		}
		b0.set(false)
		written := a.frames()
		if r, err := b.put(t.Context(), "anew", Options{}); err != nil || r.Position != 3 {
			t.Fatalf("anew: %+v, %v", r, err)
		}
		if a.frames() != written+1 || b0.opened != 2 {
			t.Errorf("%d frames, %d streams", a.frames(), b0.opened)
		}
	})
}
