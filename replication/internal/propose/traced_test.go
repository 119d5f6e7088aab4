package propose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
)

// traces are those of all nodes of a test: a part's traceparent is the path to it.
type traces struct {
	mu    sync.Mutex
	begun []string
	open  map[string]int
	errs  map[string]error
}

// of is the Tracer of a node.
func (t *traces) of(node string) contract.Tracer { return tracerOf{t, node} }

type tracerOf struct {
	*traces
	node string
}

func (t tracerOf) Begin(parent, part string) contract.Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	path := parent + "/" + t.node + "." + part
	t.begun = append(t.begun, path)
	t.open[path]++
	return &spanOf{t.traces, path}
}

type spanOf struct {
	*traces
	path string
}

func (s *spanOf) Traceparent() string { return s.path }
func (s *spanOf) Note(string, any)    {}

func (s *spanOf) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[s.path]--
	if err != nil {
		s.errs[s.path] = err
	}
}

// unended are the parts that were begun and are not over.
func (t *traces) unended() (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, n := range t.open {
		if n != 0 {
			list = append(list, fmt.Sprint(path, " ", n))
		}
	}
	return list
}

// tracedFleet is fleetOf with tracers, of which all parts must be over at the end.
func tracedFleet(t *testing.T, f func(t *testing.T, a, b *member, told *traces)) {
	t.Helper()
	told := &traces{open: map[string]int{}, errs: map[string]error{}}
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.config.Tracer, b.config.Tracer = told.of("a"), told.of("b")
		f(t, a, b, told)
	})
	if left := told.unended(); len(left) > 0 {
		t.Errorf("not over: %q", left)
	}
}

// A write that is forwarded has parts on both nodes, each within the one that waits for it.
func TestAWriteInATraceIsToldOfOnBothNodes(t *testing.T) {
	tracedFleet(t, func(t *testing.T, a, b *member, told *traces) {
		ctx := transport.WithTraceparent(t.Context(), "r")
		if _, err := b.put(ctx, "x", Options{}); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"r/b.write", "r/b.write/b.queue", "r/b.write/b.forward",
			"r/b.write/b.forward/a.write", "r/b.write/b.forward/a.write/a.queue",
			"r/b.write/b.forward/a.write/a.commit",
		}
		if !slices.Equal(told.begun, want) {
			t.Errorf("%q", told.begun)
		}
		virtual.Wait()
		if n := alone(b); n != 0 {
			t.Errorf("%d streams for one write are left", n)
		}
		told.begun = nil
		if _, err := a.put(ctx, "x", Options{Regions: 2}); !errors.Is(err, contract.ErrUnderReplicated) {
			t.Fatal(err)
		}
		want = []string{"r/a.write", "r/a.write/a.queue", "r/a.write/a.commit", "r/a.write/a.regions"}
		if !slices.Equal(told.begun, want) {
			t.Errorf("%q", told.begun)
		}
		if err := told.errs["r/a.write"]; !errors.Is(err, contract.ErrUnderReplicated) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// What is in no trace is told to nobody, and has no stream of its own.
func TestAWriteInNoTraceIsToldToNobody(t *testing.T) {
	tracedFleet(t, func(t *testing.T, a, b *member, told *traces) {
		for _, m := range []*member{a, b} {
			if _, err := m.put(t.Context(), "x", Options{}); err != nil {
				t.Fatal(err)
			}
		}
		a.config.Tracer, b.config.Tracer = nil, nil
		if _, err := b.put(transport.WithTraceparent(t.Context(), "r"), "x", Options{}); err != nil {
			t.Fatal(err)
		}
		if len(told.begun) > 0 {
			t.Errorf("%q", told.begun)
		}
	})
}

// The leader may know nothing of traces, as a node of before does: the write goes on.
func TestALeaderWithoutTracesTakesATracedWrite(t *testing.T) {
	tracedFleet(t, func(t *testing.T, a, b *member, told *traces) {
		a.config.Tracer = nil
		if _, err := b.put(transport.WithTraceparent(t.Context(), "r"), "x", Options{}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"r/b.write", "r/b.write/b.queue", "r/b.write/b.forward"}; !slices.Equal(told.begun, want) {
			t.Errorf("%q", told.begun)
		}
	})
}

// Many at once have no more streams of their own than may be, and all are answered.
func TestManyTracedWritesHaveFewStreams(t *testing.T) {
	tracedFleet(t, func(t *testing.T, a, b *member, told *traces) {
		a.hold()
		var all sync.WaitGroup
		for i := range 3 * maxAlone {
			all.Go(func() {
				ctx := transport.WithTraceparent(t.Context(), fmt.Sprint(i))
				if _, err := b.put(ctx, fmt.Sprint(i), Options{}); err != nil {
					t.Error(err)
				}
			})
		}
		virtual.Wait()
		if n := alone(b); n != maxAlone {
			t.Errorf("%d streams for one write each, the bound is %d", n, maxAlone)
		}
		a.mu.Lock()
		a.holding = false
		a.mu.Unlock()
		for !settled(&all) {
			a.release()
			virtual.Wait()
		}
		if n := alone(b); n != 0 {
			t.Errorf("%d streams for one write are left", n)
		}
		there := 0
		for _, path := range told.begun {
			if strings.HasSuffix(path, "/a.write") {
				there++
			}
		}
		if there != maxAlone {
			t.Errorf("the leader told of %d", there)
		}
	})
}

// settled reports whether nobody is waited for any more.
func settled(all *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	virtual.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// One whose caller leaves, wherever it is, is told to be over; and one that finds no leader for long is not told of
// without end.
func TestATracedWriteThatIsGivenUpIsOver(t *testing.T) {
	tracedFleet(t, func(t *testing.T, a, b *member, told *traces) {
		put := func(name string) error {
			ctx, cancel := context.WithTimeout(transport.WithTraceparent(t.Context(), name), 10*time.Second)
			defer cancel()
			_, err := b.put(ctx, "x", Options{})
			return err
		}
		b.mu.Lock()
		b.route = standing.Route{}
		b.mu.Unlock()
		if err := put("parked"); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("parked: %v", err)
		}
		b.mu.Lock()
		b.route = standing.Route{Addr: "nobody"}
		b.mu.Unlock()
		if err := put("nobody"); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("at nobody: %v", err)
		}
		if n := len(told.begun); n > 3+2*maxParts {
			t.Errorf("%d parts were told of", n)
		}
		b.mu.Lock()
		b.route = standing.Route{Addr: "a"}
		b.mu.Unlock()
		a.hold()
		if err := put("sent"); !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("sent: %v", err)
		}
		a.release()
		virtual.Wait()
		if n := alone(b); n != 0 {
			t.Errorf("%d streams for one write are left", n)
		}
	})
}

// alone is how many streams for one write a node has.
func alone(m *member) int {
	m.forwarder.mu.Lock()
	defer m.forwarder.mu.Unlock()
	return m.forwarder.traced
}

// Where nobody wants to know of traces, and for a write that is in none, nothing is allocated for them.
func TestWithoutATraceNothingIsAllocated(t *testing.T) {
	told := &traces{open: map[string]int{}, errs: map[string]error{}}
	for _, c := range []struct {
		tracer contract.Tracer
		ctx    context.Context
	}{{nil, transport.WithTraceparent(t.Context(), "r")}, {told.of("a"), t.Context()}} {
		p := &Proposer{config: Config{Tracer: c.tracer}}
		n := testing.AllocsPerRun(100, func() {
			u := p.traceOf(c.ctx)
			u.on(contract.PartCommit)
			u.end(nil)
		})
		if n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	b := newBench(t)
	f := &flight{proposals: []*proposal{{commands: make([]contract.Command, 1), finish: func(result) {}}}}
	o := &region.Outcome{First: 1 << 40, Outcome: timeline.Applied}
	if n := testing.AllocsPerRun(100, func() { b.deliver(f, o) }); n > 1 {
		t.Errorf("a write that is told is %v allocations, want that of its receipt", n)
	}
	w := newForwarder(&Config{Life: life.New(clock.Real, slog.New(slog.DiscardHandler))}, b)
	if n := testing.AllocsPerRun(100, func() { w.alone("address", f.proposals[0]) }); n > 0 {
		t.Errorf("a write that is forwarded is %v allocations", n)
	}
}

// The waits behind the log, for a lease and then for other regions, are parts of their own.
func TestWaitsToBeAcknowledgedAreToldOf(t *testing.T) {
	told := &traces{open: map[string]int{}, errs: map[string]error{}}
	l := &leased{bench: newBench(t), now: 20, until: 10, ceiling: 100, spread: 2}
	l.standing, l.durability = l, l
	l.lead(5)
	u := l.propose(10)
	p := &Proposer{config: Config{Tracer: told.of("a")}}
	u.trace = p.traceOf(transport.WithTraceparent(t.Context(), "r"))
	if !l.enqueue(u) || !l.step() {
		t.Fatal("no frame is made")
	}
	f := l.frames()[0]
	l.told(region.Outcome{Term: 5, Index: 1, Epoch: f.Epoch, First: f.First})
	l.now = 0
	l.release()
	if len(l.waits) != 1 {
		t.Fatalf("%d wait for regions", len(l.waits))
	}
	want := []string{"r/a.write", "r/a.write/a.queue", "r/a.write/a.commit", "r/a.write/a.lease", "r/a.write/a.regions"}
	if !slices.Equal(told.begun, want) {
		t.Errorf("%q", told.begun)
	}
	u.trace.end(nil)
	u.trace.on(contract.PartQueue) // it is over
	if left := told.unended(); len(left) > 0 || len(told.begun) != len(want) {
		t.Errorf("not over: %q, begun %q", left, told.begun)
	}
}
