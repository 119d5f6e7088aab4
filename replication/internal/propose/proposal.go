package propose

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
)

// proposal is one Propose on its way to the primary's leader: commands that are applied together.
type proposal struct {
	commands []contract.Command
	bytes    int
	regions  int
	deadline time.Time // zero: none; bounds the wait for a frame, and that for further regions
	phase    atomic.Int32
	from     *answers // of the stream of another node, which forwarded it; nil: of this node
	// abandoned is set when the node that forwarded it says that its caller has left.
	abandoned atomic.Bool
	way       atomic.Pointer[way] // by which it was forwarded last
	bound     bool                // to this node and the tenure
	tenure    contract.Tenure
	apart     bool         // it is applied, and told by where it lies, and not behind writes that are told later
	read      bool         // apart, and nothing is written: it asks whether what was read may be acknowledged
	short     error        // apart: it is told with this, since it is in too few regions
	finish    func(result) // called exactly once for a proposal that was not withdrawn
	trace     *trace       // nil: it is in none
}

// Phases of a proposal. Once it was claimed, only its result says what became of it. A caller that leaves meanwhile is
// told that nobody knows: if the proposal then turns out not to be written it is dropped, and not sent anew.
const (
	phaseWaiting int32 = iota
	phaseClaimed
	phaseLeft // claimed, and nobody waits for the result
	phaseWithdrawn
)

// claim takes the proposal for a pipeline or a link; false means that its caller has given up.
func (u *proposal) claim() bool {
	return u.phase.CompareAndSwap(phaseWaiting, phaseClaimed) || u.phase.Load() == phaseClaimed
}

// release makes a proposal that was certainly not applied ready for another route; false means that its caller has
// left.
func (u *proposal) release() bool {
	u.way.Store(nil)
	return u.phase.CompareAndSwap(phaseClaimed, phaseWaiting) || u.phase.Load() == phaseWaiting
}

// withdraw says that the caller gives up. It reports whether the proposal was still waiting, and takes it out then.
func (u *proposal) withdraw() bool {
	for {
		switch {
		case u.phase.CompareAndSwap(phaseWaiting, phaseWithdrawn):
			return true
		case u.phase.CompareAndSwap(phaseClaimed, phaseLeft):
			return false
		}
	}
}

// gone reports whether nobody waits any more for what became of the proposal.
func (u *proposal) gone() bool {
	switch u.phase.Load() {
	case phaseLeft, phaseWithdrawn:
		return true
	default:
		return u.from != nil && (u.abandoned.Load() || u.from.gone.Load())
	}
}

// left reports whether a proposal of another node is in no frame by the time at which nobody waits for it any more:
// its caller has given up, or the stream on which he would be told has ended. One of this node is withdrawn by its
// caller.
func (u *proposal) left(c clock.Clock) bool {
	late := !u.deadline.IsZero() && !c.Now().Before(u.deadline)
	return u.from != nil && (late || u.gone())
}

// claimed reports whether only the result says what became of the proposal.
func (u *proposal) claimed() bool {
	phase := u.phase.Load()
	return phase == phaseClaimed || phase == phaseLeft
}

func (u *proposal) withdrawn() bool { return u.phase.Load() == phaseWithdrawn }

// result is what became of a proposal. One with a receipt says that it is written, also where there is an error.
type result struct {
	receipt *contract.Receipt
	err     error
	final   bool // it is what is left to say of a write that this node may not acknowledge any more
}

// Options say what Propose waits for.
type Options struct {
	// Regions is in how many the write has to be durable, this history's primary included: 0 and 1 in that one.
	// MaxRegions at most.
	Regions int
	// Named takes the place of Regions, if it is not zero.
	Named Named
	// Bound says that the write is made only on this node and in Tenure, and is neither forwarded nor sent anew.
	Bound  bool
	Tenure contract.Tenure
}

// Propose writes cs as one atomic unit and returns where it is in the history, with the storage's results. Any node
// takes it and forwards it to the leader of the primary region. While there is none (an election, a switchover), it
// waits until ctx ends: without a deadline, as long as this node lives. When ctx has ended, what no log was offered yet
// never is: not what waits on this node; and at the leader not what its deadline, which travels with it, has overtaken,
// nor what the node that forwarded it says is given up, or would not hear of any more.
//
// Errors: ErrNotReady, ErrTooLarge, ErrArgument, ErrRejected, ErrLagging and ErrUnknownRegion say that nothing was and
// will be written, as does ErrNotLeader of a write that is bound to a tenure which is over;
// ErrUnknownOutcome says that it cannot be known; ErrUnderReplicated comes with a receipt; ErrClosed, ErrStopped.
func (p *Proposer) Propose(ctx context.Context, cs []*contract.Command, o Options) (*contract.Receipt, error) {
	if err := p.config.Life.Err(); err != nil {
		return nil, err
	}
	u, done, err := p.newProposal(ctx, cs, o)
	if err != nil {
		return nil, err
	}
	p.router.submit(u)
	select {
	case r := <-done:
		r = p.confirm(ctx, u, r)
		return r.receipt, r.err
	case <-ctx.Done():
	case <-p.config.Life.Stopped():
	}
	if u.withdraw() {
		err := p.gaveUp(ctx)
		u.trace.end(err)
		return nil, err
	}
	u.tellLeft()
	select {
	case r := <-done: // both were there
		r = p.confirm(ctx, u, r)
		return r.receipt, r.err
	default:
		return nil, fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, p.cause(ctx))
	}
}

// confirm returns what the caller of u may be told now of what was acknowledged on this node. What another node told is
// as old as it is.
func (p *Proposer) confirm(ctx context.Context, u *proposal, r result) result {
	done := make(chan result, 1)
	if u.way.Load() != nil || !p.keeps(r, func(r result) { done <- r }) {
		return r
	}
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
	case <-p.config.Life.Stopped():
	}
	return result{err: fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, p.cause(ctx))}
}

// keeps reports whether r, a write that was acknowledged on this node, or that is in too few regions, must not be told
// to be written any more: since then the process may have stood still, with the lease over and another primary. It is
// kept then, as one that was not acknowledged, and told at last.
func (p *Proposer) keeps(r result, tell func(result)) bool {
	if r.receipt == nil || r.final {
		return false
	}
	if _, admitted := p.config.Standing.Admits(r.receipt.Epoch, r.receipt.Position); admitted {
		return false
	}
	p.pipeline.applied(&proposal{apart: true, short: r.err, finish: tell}, r.receipt)
	return true
}

// gaveUp says why a proposal that went nowhere was withdrawn.
func (p *Proposer) gaveUp(ctx context.Context) error {
	if err := p.config.Life.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", contract.ErrNotReady, contract.Ended(ctx))
}

func (p *Proposer) cause(ctx context.Context) error {
	if err := p.config.Life.Err(); err != nil {
		return err
	}
	return contract.Ended(ctx)
}

func (p *Proposer) newProposal(
	ctx context.Context, cs []*contract.Command, o Options,
) (*proposal, <-chan result, error) {
	regions, err := o.number()
	if err != nil {
		return nil, nil, err
	}
	done, trace := make(chan result, 1), p.traceOf(ctx)
	u := &proposal{
		regions: regions, commands: make([]contract.Command, len(cs)), bound: o.Bound, tenure: o.Tenure,
		trace: trace,
		finish: func(r result) {
			trace.end(r.err)
			done <- r
		},
	}
	for i, c := range cs {
		u.commands[i] = *c
		u.bytes += len(c.Data)
	}
	if err := p.check(u); err != nil {
		trace.end(err)
		return nil, nil, err
	}
	if d, ok := ctx.Deadline(); ok {
		u.deadline = d
	}
	return u, done, nil
}

// maxCommands bounds one proposal.
const maxCommands = 1 << 16

// errNoCommands says that a proposal has nothing to write.
var errNoCommands = fmt.Errorf("%w: no commands", contract.ErrRejected)

// check refuses what no pipeline takes.
func (p *Proposer) check(u *proposal) error {
	c := &p.config
	switch {
	case len(u.commands) == 0:
		return errNoCommands
	case u.bytes > c.MaxCommandBytes || len(u.commands) > maxCommands:
		return fmt.Errorf("%w: %d commands of %d bytes, the limit is %d commands and %d bytes",
			contract.ErrTooLarge, len(u.commands), u.bytes, maxCommands, c.MaxCommandBytes)
	case u.tooMany(c.Regions):
		return fmt.Errorf("%w: durability in %d regions asked, the fleet has %d",
			contract.ErrUnknownRegion, u.regions, c.Regions())
	}
	return nil
}
