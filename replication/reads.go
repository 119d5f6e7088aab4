package replication

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// maxRounds is how many confirmations may be under way at once. Reads that come meanwhile share the next one.
const maxRounds = 4

// barrier lets many reads share one confirmation, each of which began after all of its reads.
type barrier struct {
	confirm func(ctx context.Context) error
	life    *life.Life

	mu      sync.Mutex
	running int
	next    *round // gathers readers, not begun
}

// arrivalTimeout is how long a confirmed place may take to arrive at a secondary before it is asked for anew.
const arrivalTimeout = 30 * time.Second

type round struct {
	done chan struct{}
	err  error
}

func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	r := b.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		b.next = r
	}
	b.begin()
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
	}
}

// begin starts the gathered round if there is room. The caller holds mu.
func (b *barrier) begin() {
	if b.next == nil || b.running >= maxRounds {
		return
	}
	r := b.next
	b.next = nil
	b.running++
	go func() {
		r.err = b.confirm(b.life.Context())
		close(r.done)
		b.mu.Lock()
		b.running--
		b.begin()
		b.mu.Unlock()
	}()
}

// ReadBarrier returns once a read of this node's storage is as fresh as l asks. With Linearizable it sees every write that was
// acknowledged anywhere in the fleet before the call; at a secondary one small message crosses to the primary.
// Errors: ErrNotReady if that cannot be confirmed before ctx ends, ErrClosed, ErrStopped.
func (n *node) ReadBarrier(ctx context.Context, l Level) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	switch l {
	case Serializable:
		return nil
	case Linearizable:
	default:
		return fmt.Errorf("%w: level %d of a read", ErrArgument, l)
	}
	for {
		err := n.barrier.wait(ctx)
		if err == nil || ctx.Err() != nil || n.life.Err() != nil {
			return err
		}
		if err := n.life.Pause(ctx, retryEvery); err != nil {
			return fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
}

// confirmRead makes the applied state at least as new as everything acknowledged before.
func (n *node) confirmRead(ctx context.Context) error {
	at, err := n.primaryPosition(ctx)
	if err != nil {
		n.fleet.Refresh()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, arrivalTimeout)
	defer cancel()
	return n.applied.Reach(ctx, at)
}

// primaryPosition asks the primary for a place that covers everything acknowledged before.
func (n *node) primaryPosition(ctx context.Context) (at timeline.Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.config.callTimeout())
	defer cancel()
	if n.standing.Primary() {
		return n.confirmedPosition(ctx)
	}
	to := n.standing.Route()
	if to.Addr == "" {
		return at, ErrNotReady
	}
	return peer.Ask(ctx, n.client, to.Addr, askPosition, peer.Nothing{})
}

// confirmedPosition returns a place in the history that covers every write acknowledged by the primary region before the call.
// Only a node of the primary region answers.
func (n *node) confirmedPosition(ctx context.Context) (timeline.Cursor, error) {
	index, err := n.group.ReadIndex(ctx)
	if err != nil {
		return timeline.Cursor{}, err
	}
	v, err := n.applied.Wait(ctx, func(v *region.View) bool { return v.Index >= index })
	if err != nil {
		return timeline.Cursor{}, err
	}
	// While sealed, the next epoch may have begun elsewhere already; and as long as other regions were not asked, in a reign that is
	// not known here.
	if !n.standing.Entitled(&v.State) {
		return timeline.Cursor{}, fmt.Errorf("%w: region %s is %s, sealed: %t", ErrNotReady, n.config.RegionID, v.State.Role(), v.State.Seal != nil)
	}
	return v.State.Cursor, nil
}

// WaitPosition returns once everything up to p is applied on this node.
func (n *node) WaitPosition(ctx context.Context, p Position) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	_, err := n.applied.Wait(ctx, func(v *region.View) bool { return v.State.Cursor.Position >= p })
	return err
}

// Ask puts a question to the embedder's OnAsk on the leader of the primary region, and returns its answer. Errors: ErrNotReady if there is no such
// leader before ctx ends, ErrRejected if OnAsk refused.
func (n *node) Ask(ctx context.Context, request []byte) ([]byte, error) {
	for {
		if err := n.life.Err(); err != nil {
			return nil, err
		}
		answer, err := n.askOnce(ctx, request)
		if err == nil || !peer.Elsewhere(err) {
			return answer, err
		}
		n.fleet.Refresh()
		if perr := n.life.Pause(ctx, retryEvery); perr != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
}

func (n *node) askOnce(ctx context.Context, request []byte) ([]byte, error) {
	to := n.standing.Route()
	if to.Local {
		return n.answerAsk(ctx, request)
	}
	if to.Addr == "" {
		return nil, ErrNotReady
	}
	return peer.Ask(ctx, n.client, to.Addr, askEmbedder, request)
}

func (n *node) answerAsk(ctx context.Context, request []byte) ([]byte, error) {
	if !n.pipeline.isOpen() {
		return nil, ErrNotReady
	}
	if n.config.OnAsk == nil {
		return nil, fmt.Errorf("%w: no OnAsk", ErrRejected)
	}
	answer, err := n.config.OnAsk(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return answer, nil
}
