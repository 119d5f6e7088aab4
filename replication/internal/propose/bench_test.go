package propose

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// bench is a pipeline whose log is a slice, stepped by hand. It is its own Raft group, standing, durability and
// requeuer, and checks the pipeline's invariants whenever the pipeline calls it without its lock, and after every
// step.
type bench struct {
	*pipeline
	t       *testing.T
	log     [][]byte
	refuse  error
	during  func() // runs while a proposal is with raft
	writes  bool
	ceiling bool // it is at its ceiling
	cursor  timeline.Cursor
	back    []*proposal
	results map[*proposal]result
	ends    map[*proposal]int
	waits   []*awaited
}

// awaited is a proposal that waits for further regions.
type awaited struct {
	k        int
	receipt  *contract.Receipt
	deadline time.Time
	left     func() bool
	done     func(*contract.Receipt, error)
}

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, writes: true, cursor: timeline.Cursor{Epoch: 3, Position: 10, Chain: timeline.Chain{1}},
		results: map[*proposal]result{}, ends: map[*proposal]int{},
	}
	b.pipeline = newPipeline(&Config{
		Group: b, Standing: b, Durability: b, Clock: clock.Real, FrameBytes: 100, WindowBytes: 1 << 20,
	}, b)
	return b
}

func (b *bench) Propose(_ context.Context, _ uint64, payloads [][]byte) (uint64, error) {
	b.check()
	if b.during != nil {
		b.during()
	}
	if b.refuse != nil {
		return 0, b.refuse
	}
	b.log = append(b.log, payloads...)
	return uint64(len(b.log)), nil
}

// MayWrite is asked with the lock held: an answer that is older than the end of a control would open the pipeline
// behind a seal, or leave it closed for good.
func (b *bench) MayWrite(timeline.Position) (at timeline.Cursor, reigns, below bool) {
	if b.mu.TryLock() {
		b.mu.Unlock()
		b.t.Error("asked for the right to write without the lock")
	}
	return b.cursor, b.writes, b.writes && !b.ceiling
}

func (*bench) Admits(timeline.Epoch, timeline.Position) (int, bool) { return 1, true }
func (*bench) Deposed(timeline.Epoch) bool                          { return false }
func (*bench) Inherited(timeline.Epoch, timeline.Position) bool     { return false }

func (*bench) Cut(timeline.Epoch, timeline.Position) (timeline.Reign, bool) {
	return timeline.Reign{}, false
}

func (*bench) Bound(*timeline.State) (timeline.Position, int, bool) { return 0, 1, false }
func (*bench) Reached(int, *timeline.State) timeline.Position       { return 0 }

func (b *bench) Route() standing.Route { return standing.Route{} }

func (b *bench) Await(
	k int, r *contract.Receipt, deadline time.Time, left func() bool, done func(*contract.Receipt, error),
) {
	b.check()
	b.waits = append(b.waits, &awaited{k, r, deadline, left, done})
}

func (b *bench) requeue(us []*proposal) {
	b.check()
	for _, u := range us {
		u.release()
	}
	b.back = append(b.back, us...)
}

func (b *bench) check() {
	b.t.Helper()
	if err := b.valid(); err != nil {
		b.t.Fatal(err)
	}
}

// step is the pipeline's, checked.
func (b *bench) step() bool {
	b.t.Helper()
	did := b.pipeline.step(b.t.Context())
	b.check()
	return did
}

func (b *bench) steps() {
	b.t.Helper()
	for b.step() {
	}
}

// told is resolve, checked.
func (b *bench) told(outcomes ...region.Outcome) {
	b.t.Helper()
	b.resolve(outcomes)
	b.check()
}

func (b *bench) propose(sizes ...int) *proposal {
	u := &proposal{}
	for i, n := range sizes {
		u.commands = append(u.commands, contract.Command{Data: fmt.Appendf(nil, "%0*d", n, i)})
		u.bytes += n
	}
	u.finish = func(r result) {
		b.check()
		b.results[u] = r
		b.ends[u]++
	}
	return u
}

func (b *bench) put(sizes ...int) *proposal {
	b.t.Helper()
	u := b.propose(sizes...)
	if !b.enqueue(u) {
		b.t.Fatal("the pipeline is closed")
	}
	b.check()
	return u
}

// ask puts a control in line and returns the request.
func (b *bench) ask(token uint64, closes bool) *request {
	b.t.Helper()
	r := &request{closes: closes, token: token, done: make(chan answer, 1)}
	if err := b.line(r); err != nil {
		b.t.Fatal(err)
	}
	b.check()
	return r
}

func (b *bench) frames() []timeline.Frame {
	b.t.Helper()
	frames := make([]timeline.Frame, len(b.log))
	for i, p := range b.log {
		if err := timeline.DecodeFrame(p, &frames[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	return frames
}
