package replication

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// maxRounds is how many confirmations may be under way at once. Reads that come meanwhile share the next one.
const maxRounds = 4

// barrier lets many reads share one confirmation, each of which began after all of its reads.
type barrier struct {
	confirm func(ctx context.Context) error
	base    context.Context

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
		r.err = b.confirm(b.base)
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
	if err := n.err(); err != nil {
		return err
	}
	if l == Serializable {
		return nil
	}
	for {
		err := n.barrier.wait(ctx)
		if err == nil || ctx.Err() != nil || n.err() != nil {
			return err
		}
		if err := n.pause(ctx, retryEvery); err != nil {
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
	return n.waitCursor(ctx, at)
}

// primaryPosition asks the primary for a place that covers everything acknowledged before.
func (n *node) primaryPosition(ctx context.Context) (at timeline.Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.config.callTimeout())
	defer cancel()
	if n.isPrimaryView() {
		return n.confirmedPosition(ctx)
	}
	to := n.findRoute()
	if to.addr == "" {
		return at, ErrNotReady
	}
	err = n.call(ctx, to.addr, opPosition, nil, &at)
	return at, err
}

// confirmedPosition returns a place in the history that covers every write acknowledged by the primary region before the call.
// Only a node of the primary region answers.
func (n *node) confirmedPosition(ctx context.Context) (timeline.Cursor, error) {
	index, err := n.group.ReadIndex(ctx)
	if err != nil {
		return timeline.Cursor{}, err
	}
	v, err := n.waitView(ctx, func(v *view) bool { return v.index >= index })
	if err != nil {
		return timeline.Cursor{}, err
	}
	// While sealed, the next epoch may have begun elsewhere already; and as long as other regions were not asked, in a reign that is
	// not known here.
	if !n.entitled(&v.state) {
		return timeline.Cursor{}, fmt.Errorf("%w: region %s is %s, sealed: %t", ErrNotReady, n.config.RegionID, v.state.Role(), v.state.Seal != nil)
	}
	return v.state.Cursor, nil
}

// WaitPosition returns once everything up to p is applied on this node.
func (n *node) WaitPosition(ctx context.Context, p Position) error {
	if err := n.err(); err != nil {
		return err
	}
	_, err := n.waitView(ctx, func(v *view) bool { return v.state.Cursor.Position >= p })
	return err
}

func (n *node) waitCursor(ctx context.Context, c timeline.Cursor) error {
	_, err := n.waitView(ctx, func(v *view) bool {
		return v.state.Cursor.Position >= c.Position && v.state.Cursor.Epoch >= c.Epoch
	})
	return err
}

// waitView returns the first view that ok likes.
func (n *node) waitView(ctx context.Context, ok func(*view) bool) (*view, error) {
	for {
		changed := n.applier.board.changed()
		v := n.applier.board.get()
		if ok(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
		case <-n.stopped:
			return v, n.err()
		}
	}
}

// Ask puts a question to the embedder's OnAsk on the leader of the primary region, and returns its answer. Errors: ErrNotReady if there is no such
// leader before ctx ends, ErrRejected if OnAsk refused.
func (n *node) Ask(ctx context.Context, request []byte) ([]byte, error) {
	for {
		if err := n.err(); err != nil {
			return nil, err
		}
		answer, err := n.askOnce(ctx, request)
		if err == nil || !isRoutingError(err) {
			return answer, err
		}
		n.fleet.Refresh()
		if perr := n.pause(ctx, retryEvery); perr != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
}

func (n *node) askOnce(ctx context.Context, request []byte) ([]byte, error) {
	to := n.findRoute()
	if to.local {
		return n.answerAsk(ctx, request)
	}
	if to.addr == "" {
		return nil, ErrNotReady
	}
	var answer []byte
	err := n.call(ctx, to.addr, opAsk, request, &answer)
	return answer, err
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
