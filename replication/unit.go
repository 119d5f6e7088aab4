package replication

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// unit is one Propose on its way to the primary's leader: commands that are applied together.
type unit struct {
	commands []Command
	bytes    int
	regions  int
	deadline time.Time // zero: none; bounds the wait for further regions
	phase    atomic.Int32
	foreign  bool         // forwarded by another node
	finish   func(result) // called exactly once for a unit that was not withdrawn
}

// Phases of a unit. Once it was handed on, only its result says what became of it.
const (
	phaseWaiting int32 = iota
	phaseHanded
	phaseWithdrawn
)

// hand claims the unit for a pipeline or a connection; false means that its caller has given up.
func (u *unit) hand() bool {
	return u.phase.CompareAndSwap(phaseWaiting, phaseHanded) || u.phase.Load() == phaseHanded
}

// giveBack makes a unit that was certainly not applied ready for another route.
func (u *unit) giveBack() { u.phase.CompareAndSwap(phaseHanded, phaseWaiting) }

// withdraw reports whether the unit was still waiting, and takes it out.
func (u *unit) withdraw() bool { return u.phase.CompareAndSwap(phaseWaiting, phaseWithdrawn) }

// result is what became of a unit.
type result struct {
	receipt *Receipt
	err     error
}

// Propose writes cs as one atomic unit and returns where it is in the history, with the storage's results. Any node takes it and
// forwards it to the leader of the primary region. While there is none (an election, a switchover), it waits.
//
// Errors: ErrNotReady and ErrTooLarge say that nothing was and will be written; ErrUnknownOutcome says that it cannot be known;
// ErrUnderReplicated comes with a receipt; ErrClosed, ErrStopped.
func (n *node) Propose(ctx context.Context, cs []*Command, opts ...ProposeOption) (*Receipt, error) {
	u, done, err := n.newUnit(ctx, cs, opts)
	if err != nil {
		return nil, err
	}
	n.router.submit(u)
	select {
	case r := <-done:
		return r.receipt, r.err
	case <-ctx.Done():
	case <-n.life.Stopped():
	}
	if u.withdraw() {
		return nil, n.gaveUp(ctx)
	}
	select {
	case r := <-done:
		return r.receipt, r.err
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, n.cause(ctx))
	}
}

// gaveUp says why a unit that went nowhere was withdrawn.
func (n *node) gaveUp(ctx context.Context) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
}

func (n *node) cause(ctx context.Context) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (n *node) newUnit(ctx context.Context, cs []*Command, opts []ProposeOption) (*unit, <-chan result, error) {
	if err := n.callable(ctx); err != nil {
		return nil, nil, err
	}
	p := proposal{regions: 1}
	for _, o := range opts {
		o(&p)
	}
	if p.regions < 1 || slices.Contains(cs, nil) {
		return nil, nil, fmt.Errorf("%w: %d commands, one of them nil: %t; durable in %d regions",
			ErrArgument, len(cs), slices.Contains(cs, nil), p.regions)
	}
	u := &unit{regions: p.regions, commands: make([]Command, len(cs))}
	for i, c := range cs {
		u.commands[i] = *c
		u.bytes += len(c.Data)
	}
	if err := n.checkUnit(u); err != nil {
		return nil, nil, err
	}
	if d, ok := ctx.Deadline(); ok && p.regions > 1 {
		u.deadline = d
	}
	done := make(chan result, 1)
	u.finish = func(r result) { done <- r }
	return u, done, nil
}

func (n *node) checkUnit(u *unit) error {
	switch {
	case len(u.commands) == 0:
		return fmt.Errorf("%w: no commands", ErrArgument)
	case u.bytes > n.config.MaxCommandBytes || len(u.commands) > maxUnitCommands:
		return fmt.Errorf("%w: %d commands of %d bytes, the limit is %d commands and %d bytes",
			ErrTooLarge, len(u.commands), u.bytes, maxUnitCommands, n.config.MaxCommandBytes)
	case u.regions > len(n.config.Regions)+1:
		return fmt.Errorf("%w: durability in %d regions asked, the fleet has %d", ErrUnknownRegion, u.regions, len(n.config.Regions)+1)
	}
	return nil
}

// maxUnitCommands bounds one atomic unit.
const maxUnitCommands = 1 << 16

// ApplyBatch implements Replicator.
func (n *node) ApplyBatch(cs []*Command, timeout time.Duration) error {
	if timeout <= 0 {
		return fmt.Errorf("%w: timeout %v", ErrArgument, timeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := n.Propose(ctx, cs)
	return err
}
