package propose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/invariant"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pipeline turns proposals into frames on the leader of the primary region, and knows them again when their frame is
// applied.
//
// It is the only proposer of frames of its own region's epoch and of every control that ends the right to write, from
// one goroutine. So every frame in the log continues the one before it, and no frame stands behind the seal that
// forbids it.
//
// Invariants while mu is free, checked by valid:
//
//	P1  each flight begins where the one before it ends, and the stamp is where the last one ends.
//	P2  inFlight is the sum of the flights' bytes.
//	P3  flights are of one term; while open, of the term that this node leads.
//	P4  while open, it reigns, and while it reigns, this node leads a term.
//	P5  it does not reign while a control is in flight that may end the right to write; closing counts these.
//	P6  while it is not open, nothing waits in the queue.
//	P7  whatever is in a flight was claimed: its caller cannot withdraw it any more.
//	P8  after abandon it is not open, and nothing waits or is in flight.
type pipeline struct {
	group      Group
	standing   Standing
	durability Durability
	regions    func() int // in the fleet that count
	gate       Gate
	back       requeuer // of proposals that were certainly not applied
	clock      clock.Clock
	frameBytes int
	window     int64                               // bytes in flight
	level      func(command []byte) timeline.Level // may be nil
	wake       wake.Signal
	folder     *timeline.Folder

	mu       sync.Mutex
	term     uint64 // that this node leads, with everything before it applied; zero: it does not
	reigns   bool   // a tenure goes on, of the term and the stamp's epoch
	open     bool   // frames are made: it reigns, and is not at its ceiling
	openings uint64 // so far, so that a frame in the making notices one
	stamp    timeline.Cursor
	framed   time.Time   // when a frame was made last
	paced    bool        // what waits was ready for a frame, but for the gate, when that was looked at last
	queue    []*proposal // what is bound to the tenure first
	requests []*request
	closing  int
	flights  []*flight
	inFlight int64
	landed   time.Time // when a flight, or a request, was applied last
	held     []held    // applied, and not to be acknowledged yet, in order
	seen     []held    // what reads saw, and may not tell yet
	ended    error     // why it was abandoned
}

func newPipeline(c *Config, back requeuer) *pipeline {
	return &pipeline{
		group: c.Group, standing: c.Standing, durability: c.Durability, regions: c.Regions, gate: c.Gate,
		back: back, clock: c.Clock, frameBytes: c.FrameBytes, window: c.WindowBytes, level: c.CommandLevel,
		wake: wake.New(), folder: timeline.NewFolder(),
	}
}

// check is valid, where properties are checked while a node runs.
func (p *pipeline) check() { invariant.Check("pipeline", p.valid) }

// valid checks P1 to P8.
func (p *pipeline) valid() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var bytes int64
	for i, f := range p.flights {
		bytes += f.bytes
		if i > 0 && f.first != p.flights[i-1].after.Position+1 {
			return fmt.Errorf("P1: flight at %d behind one that ends at %d", f.first, p.flights[i-1].after.Position)
		}
		if f.term != p.flights[0].term || p.open && f.term != p.term {
			return fmt.Errorf("P3: flight of term %d beside one of term %d, leading %d", f.term, p.flights[0].term,
				p.term)
		}
		if slices.ContainsFunc(f.proposals, func(u *proposal) bool { return !u.claimed() }) {
			return fmt.Errorf("P7: the flight at %d holds a proposal that was not claimed", f.first)
		}
	}
	closing := 0
	for _, r := range p.requests {
		if r.closes && r.term != 0 {
			closing++
		}
	}
	last := len(p.flights) - 1
	switch {
	case last >= 0 && p.stamp != p.flights[last].after:
		return fmt.Errorf("P1: stamp at %d, the last flight ends at %d", p.stamp.Position,
			p.flights[last].after.Position)
	case bytes != p.inFlight:
		return fmt.Errorf("P2: %d bytes in flight, counted %d", bytes, p.inFlight)
	case p.open && !p.reigns || p.reigns && p.term == 0:
		return fmt.Errorf("P4: open %t, reigns %t in term %d", p.open, p.reigns, p.term)
	case closing != p.closing || p.reigns && closing > 0:
		return fmt.Errorf("P5: reigns %t, %d closing controls in flight, counted %d", p.reigns, closing, p.closing)
	case !p.open && len(p.queue) > 0:
		return fmt.Errorf("P6: closed, %d wait", len(p.queue))
	case p.ended != nil && (p.reigns || len(p.flights)+len(p.requests) > 0):
		return fmt.Errorf("P8: abandoned, reigns %t, %d flights, %d requests", p.reigns, len(p.flights),
			len(p.requests))
	}
	return nil
}

// flight is a frame between its proposal and its application.
type flight struct {
	term      uint64
	first     contract.Position
	proposals []*proposal
	bytes     int64
	after     timeline.Cursor // where it ends
	at        time.Time       // when it was made
}

const (
	// maxFlights bounds small frames in flight: while that many are on their way, what arrives gathers in the next.
	maxFlights = 4
	// maxFrameCommands bounds a frame of several proposals.
	maxFrameCommands = 8192
)

func (p *pipeline) run(ctx context.Context) {
	for {
		for p.step(ctx) {
		}
		again, stop := afterPace(p)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-p.wake:
		case <-again:
		}
		stop()
	}
}

// step proposes one thing, controls first; false means that there is nothing to do.
func (p *pipeline) step(ctx context.Context) bool {
	if r := p.nextRequest(); r != nil {
		return p.proposeRequest(ctx, r)
	}
	turnAway(p)
	f, stamp, opening, left := p.nextFlight()
	p.back.requeue(left)
	if f == nil {
		return len(left) > 0
	}
	payload := p.encode(f, stamp)
	if !p.register(f, opening) {
		p.back.requeue(f.proposals)
		return true
	}
	switch _, err := p.group.Propose(ctx, f.term, [][]byte{payload}); {
	case errors.Is(err, raftgroup.ErrStopped):
		return false // raft may have taken it: abandon says that nobody knows
	case err != nil:
		p.takeBack(f, stamp)
	}
	return true
}

// nextFlight takes from the queue what fits a frame, and what nobody waits for any more.
func (p *pipeline) nextFlight() (next *flight, stamp timeline.Cursor, opening uint64, left []*proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := p.open && len(p.queue) > 0 && p.inFlight < p.window && !p.gathering()
	pace := ready && paceOf(p) > 0
	alone := pace && p.queue[0].bound // it is not paced
	if p.paced = pace && !alone; p.paced || !ready {
		return nil, timeline.Cursor{}, 0, nil
	}
	f := &flight{term: p.term, first: p.stamp.Position + 1, at: p.clock.Now()}
	taken, commands := 0, 0
	for _, u := range p.queue {
		full := f.bytes+int64(u.bytes) > int64(p.frameBytes) || commands+len(u.commands) > maxFrameCommands
		if full && len(f.proposals) > 0 || alone && !u.bound {
			break
		}
		taken++
		if u.left(p.clock) {
			left = append(left, u)
			continue
		}
		if !u.claim() {
			continue
		}
		u.trace.on(contract.PartCommit)
		f.proposals = append(f.proposals, u)
		f.bytes += int64(u.bytes)
		commands += len(u.commands)
	}
	clear(p.queue[:taken])
	p.queue = p.queue[taken:]
	if len(f.proposals) == 0 {
		p.paced = pace
		return nil, timeline.Cursor{}, 0, left
	}
	if !alone {
		p.framed = f.at
	}
	return f, p.stamp, p.openings, left
}

// gathering reports whether enough small frames are on their way that waiting for one of them makes a larger next one.
func (p *pipeline) gathering() bool {
	if len(p.flights) < maxFlights {
		return false
	}
	bytes := 0
	for _, u := range p.queue {
		if bytes += u.bytes; bytes >= p.frameBytes {
			return false
		}
	}
	return true
}

// encode makes the frame that follows stamp.
func (p *pipeline) encode(f *flight, stamp timeline.Cursor) []byte {
	count := 0
	for _, u := range f.proposals {
		count += len(u.commands)
	}
	commands := make([]contract.Command, 0, count)
	for _, u := range f.proposals {
		commands = append(commands, u.commands...)
	}
	frame := timeline.Frame{Epoch: stamp.Epoch, First: f.first, Previous: stamp.Chain, Commands: commands}
	for i := range commands {
		if p.level != nil {
			frame.Level = max(frame.Level, p.level(commands[i].Data))
		}
	}
	f.after = timeline.Cursor{Epoch: stamp.Epoch, Position: frame.Last(), Chain: p.folder.Frame(&frame)}
	return timeline.AppendFrame(make([]byte, 0, timeline.FrameBytes(count, int(f.bytes))), &frame)
}

func (p *pipeline) register(f *flight, opening uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || p.openings != opening {
		return false
	}
	p.flights = append(p.flights, f)
	p.inFlight += f.bytes
	p.stamp = f.after
	return true
}

// takeBack undoes the registration of a frame that raft did not take. It is the last one registered, unless somebody
// has ended its proposals already.
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
	p.back.requeue(f.proposals)
	p.check()
}

// enqueue takes a proposal; false means that it makes no frames now, or not in the tenure to which u is bound.
func (p *pipeline) enqueue(u *proposal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || u.bound && u.tenure != p.tenure() {
		return false
	}
	at := len(p.queue)
	if u.bound { // behind others of its kind, and before the rest
		if first := slices.IndexFunc(p.queue, func(o *proposal) bool { return !o.bound }); first >= 0 {
			at = first
		}
	}
	p.queue = slices.Insert(p.queue, at, u)
	p.wake.Nudge()
	return true
}

// tenureNow returns the tenure in which this node takes writes, though they may wait at its ceiling; the zero Tenure if
// it takes none now.
func (p *pipeline) tenureNow() contract.Tenure {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tenure()
}

// tenure is tenureNow for who holds mu. While the pipeline reigns, neither term nor epoch changes.
func (p *pipeline) tenure() contract.Tenure {
	if !p.reigns {
		return contract.Tenure{}
	}
	return contract.Tenure{Term: p.term, Epoch: p.stamp.Epoch}
}

// lead says that this node leads term and has applied everything before it.
func (p *pipeline) lead(term uint64) {
	var queue []*proposal
	p.mu.Lock()
	if p.term != term {
		queue = p.shut()
	}
	if p.ended == nil {
		p.term = term
	}
	p.mu.Unlock()
	p.back.requeue(queue)
	p.evaluate()
}

// stepDown says that this node does not lead. What is in flight stays, frames and requests alike: the log will tell
// what became of it.
func (p *pipeline) stepDown() {
	p.mu.Lock()
	p.term = 0
	queue := p.shut()
	p.settle(func(r *request) *answer {
		if r.term != 0 {
			return nil
		}
		return &answer{err: contract.ErrNotLeader}
	})
	p.mu.Unlock()
	p.back.requeue(queue)
	p.release()
	p.check()
}

// shut ends the tenure and returns what waited. The caller holds mu.
func (p *pipeline) shut() []*proposal {
	p.open, p.reigns = false, false
	queue := p.queue
	p.queue = nil
	return queue
}

// reached returns the last position that was proposed here and may be in the log. The caller holds mu.
func (p *pipeline) reached() contract.Position {
	if !p.open && len(p.flights) == 0 {
		return 0
	}
	return p.stamp.Position
}

// lastProposed is reached for who does not hold mu.
func (p *pipeline) lastProposed() contract.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reached()
}

// evaluate begins to stamp if this node may write and everything it proposed has been applied. It is called whenever
// one of these may have become true.
func (p *pipeline) evaluate() {
	p.mu.Lock()
	// With the lock: an answer from before the last control counts for nothing.
	cursor, reigns, below := p.standing.MayWrite(p.reached())
	var queue []*proposal
	switch {
	case !reigns:
		queue = p.shut()
	case !below && p.open:
		queue, p.reigns = p.shut(), true
	case below && !p.open && p.term != 0 && p.closing == 0 && len(p.requests) == 0 && len(p.flights) == 0:
		p.open, p.reigns = true, true
		p.openings++
		p.stamp = cursor
		p.wake.Nudge()
	}
	p.mu.Unlock()
	p.back.requeue(queue)
	p.release()
	p.check()
}
