package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pipeline turns units into frames on the leader of the primary region, and knows the units again when their frame is applied.
//
// It is the only proposer of frames of its own region's epoch and of every control that ends the right to write, from one
// goroutine. So every frame in the log continues the one before it, and no frame stands behind the seal that forbids it.
type pipeline struct {
	propose   func(ctx context.Context, term uint64, payloads [][]byte) (uint64, error)
	again     func([]*unit) // units that were certainly not applied
	applied   func(u *unit, r *Receipt)
	mayOpen   func() (timeline.Cursor, bool) // the applied place, if this region may write; called with mu held
	frameSize int
	window    int64 // bytes in flight

	mu       sync.Mutex
	wake     chan struct{}
	term     uint64 // that this node leads, with everything before it applied; zero: it does not
	open     bool
	reign    uint64 // counts openings, so that a frame in the making notices one
	stamp    timeline.Cursor
	queue    []*unit
	controls []*request
	closing  int // controls in flight that may end the right to write
	flights  []*flight
	inFlight int64
	folder   *timeline.Folder
}

// flight is a frame between its proposal and its application.
type flight struct {
	term  uint64
	first Position
	units []*unit
	bytes int64
	after timeline.Cursor
}

// request is a control or the beginning of an epoch on its way through the log.
type request struct {
	payload []byte
	closes  bool
	token   uint64 // of a control
	reign   *Reign // of a beginning
	term    uint64 // in which it was proposed; zero: not yet
	done    chan requestResult
}

type requestResult struct {
	applied region.Outcome
	err     error
}

// maxFlights bounds small frames in flight: while that many are on their way, what arrives gathers in the next.
const maxFlights = 4

func (p *pipeline) run(ctx context.Context) {
	for {
		for p.step(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
	}
}

func (p *pipeline) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// step proposes one thing, controls first; false means that there is nothing to do.
func (p *pipeline) step(ctx context.Context) bool {
	if r := p.nextControl(); r != nil {
		p.proposeControl(ctx, r)
		return true
	}
	f, stamp, reign := p.nextFlight()
	if f == nil {
		return false
	}
	payload := p.encode(f, stamp)
	if !p.register(f, reign) {
		p.again(f.units)
		return true
	}
	switch _, err := p.propose(ctx, f.term, [][]byte{payload}); {
	case errors.Is(err, raftgroup.ErrStopped):
		return false // raft may have taken it: abandon says that nobody knows
	case err != nil:
		p.takeBack(f, stamp)
	}
	return true
}

// nextFlight takes from the queue what fits a frame.
func (p *pipeline) nextFlight() (*flight, timeline.Cursor, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || len(p.queue) == 0 || p.inFlight >= p.window || p.gathering() {
		return nil, timeline.Cursor{}, 0
	}
	f := &flight{term: p.term, first: p.stamp.Position + 1}
	taken, commands := 0, 0
	for _, u := range p.queue {
		if len(f.units) > 0 && (f.bytes+int64(u.bytes) > int64(p.frameSize) || commands+len(u.commands) > maxRunCommands) {
			break
		}
		taken++
		if !u.hand() {
			continue
		}
		f.units = append(f.units, u)
		f.bytes += int64(u.bytes)
		commands += len(u.commands)
	}
	clear(p.queue[:taken])
	p.queue = p.queue[taken:]
	if len(f.units) == 0 {
		return nil, timeline.Cursor{}, 0
	}
	return f, p.stamp, p.reign
}

// gathering reports whether enough small frames are on their way that waiting for one of them makes a larger next one.
func (p *pipeline) gathering() bool {
	if len(p.flights) < maxFlights {
		return false
	}
	bytes := 0
	for _, u := range p.queue {
		if bytes += u.bytes; bytes >= p.frameSize {
			return false
		}
	}
	return true
}

// encode makes the frame that follows stamp.
func (p *pipeline) encode(f *flight, stamp timeline.Cursor) []byte {
	count := 0
	for _, u := range f.units {
		count += len(u.commands)
	}
	frame := timeline.Frame{Epoch: stamp.Epoch, First: f.first, Previous: stamp.Chain, Commands: make([]Command, 0, count)}
	for _, u := range f.units {
		frame.Commands = append(frame.Commands, u.commands...)
	}
	f.after = timeline.Cursor{Epoch: stamp.Epoch, Position: frame.Last(), Chain: p.folder.Frame(&frame)}
	return timeline.AppendFrame(make([]byte, 0, timeline.FrameBytes(count, int(f.bytes))), &frame)
}

func (p *pipeline) register(f *flight, reign uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || p.reign != reign {
		return false
	}
	p.flights = append(p.flights, f)
	p.inFlight += f.bytes
	p.stamp = f.after
	return true
}

// takeBack undoes the registration of a frame that raft did not take. It is the last one registered, unless somebody has ended
// its units already.
func (p *pipeline) takeBack(f *flight, stamp timeline.Cursor) {
	p.mu.Lock()
	last := len(p.flights) - 1
	if last < 0 || p.flights[last] != f {
		p.mu.Unlock()
		return
	}
	p.flights = p.flights[:last]
	p.inFlight -= f.bytes
	p.stamp = stamp
	p.mu.Unlock()
	p.again(f.units)
}

// enqueue takes a unit; false means that this node takes no writes now.
func (p *pipeline) enqueue(u *unit) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return false
	}
	p.queue = append(p.queue, u)
	p.nudge()
	return true
}

// isOpen reports whether this node takes writes now.
func (p *pipeline) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// lead says that this node leads term and has applied everything before it.
func (p *pipeline) lead(term uint64) {
	p.mu.Lock()
	p.term = term
	p.mu.Unlock()
	p.evaluate()
}

// follow says that this node does not lead. What is in flight stays, frames and requests alike: the log will tell what became of it.
func (p *pipeline) follow() {
	p.mu.Lock()
	p.term = 0
	queue, controls := p.shut(), slices.Clone(p.controls)
	p.mu.Unlock()
	p.again(queue)
	for _, r := range controls {
		if r.term == 0 {
			p.settle(r, requestResult{err: ErrNotLeader})
		}
	}
}

// shut stops stamping and returns what waited. The caller holds mu.
func (p *pipeline) shut() []*unit {
	p.open = false
	queue := p.queue
	p.queue = nil
	return queue
}

// evaluate begins to stamp if this node may write and everything it proposed has been applied. It is called whenever one
// of these may have become true.
func (p *pipeline) evaluate() {
	p.mu.Lock()
	cursor, may := p.mayOpen() // with the lock: an answer from before the last control counts for nothing
	var queue []*unit
	switch {
	case !may && p.open:
		queue = p.shut()
	case may && !p.open && p.term != 0 && p.closing == 0 && len(p.controls) == 0 && len(p.flights) == 0:
		p.open = true
		p.reign++
		p.stamp = cursor
		p.nudge()
	}
	p.mu.Unlock()
	p.again(queue)
}

// request proposes a control or a beginning, in order with the frames, and returns what became of it when it was applied
// here.
func (p *pipeline) request(ctx context.Context, r *request) (region.Outcome, error) {
	r.done = make(chan requestResult, 1)
	p.mu.Lock()
	if p.term == 0 {
		p.mu.Unlock()
		return region.Outcome{}, ErrNotLeader
	}
	p.controls = append(p.controls, r)
	p.nudge()
	p.mu.Unlock()
	select {
	case res := <-r.done:
		return res.applied, res.err
	case <-ctx.Done():
		return region.Outcome{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

func (p *pipeline) nextControl() *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.controls {
		if r.term == 0 {
			r.term = p.term
			if r.closes {
				p.closing++
				queue := p.shut()
				defer p.again(queue)
			}
			return r
		}
	}
	return nil
}

func (p *pipeline) proposeControl(ctx context.Context, r *request) {
	if _, err := p.propose(ctx, r.term, [][]byte{r.payload}); err != nil {
		p.settle(r, requestResult{err: fmt.Errorf("%w: %w", ErrNotLeader, err)})
		p.evaluate()
	}
}

// settle ends a request, once.
func (p *pipeline) settle(r *request, res requestResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.controls {
		if o == r {
			p.controls = append(p.controls[:i:i], p.controls[i+1:]...)
			if r.closes && r.term != 0 {
				p.closing--
			}
			r.done <- res
			return
		}
	}
}
