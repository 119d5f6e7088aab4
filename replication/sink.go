package replication

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// newSink returns a stream from the region source into t.
func (n *node) newSink(source string, t *taker) *stream.Sink {
	return stream.NewSink(stream.SinkConfig{
		Region: n.config.RegionID, Transport: n.transport, Clock: n.config.Clock, Logger: n.logger,
		Taker:       t,
		Addresses:   func() []string { return n.fleet.Addresses(source) },
		WindowBytes: n.config.StreamWindowBytes,
	})
}

// taker is this region as the stream sees it. It takes entries only while this node leads the term it was made for.
type taker struct {
	node *node
	term uint64
	last atomic.Uint64 // index of the last entry proposed
}

func (t *taker) Cursor() timeline.Cursor  { return t.node.applied.View().State.Cursor }
func (t *taker) Reigns() []timeline.Reign { return t.node.applied.View().State.Reigns }
func (t *taker) Changed() <-chan struct{} { return t.node.applied.Changed() }
func (t *taker) Take(ctx context.Context, payloads [][]byte) error {
	first, err := t.node.group.Propose(ctx, t.term, payloads)
	if err != nil {
		return fmt.Errorf("propose %d entries of the stream: %w", len(payloads), err)
	}
	t.last.Store(first + uint64(len(payloads)) - 1)
	return nil
}

// Settle implements stream.Taker. As long as this node leads the term, what it proposed stays in the log.
func (t *taker) Settle(ctx context.Context) error {
	for {
		term, _ := t.node.leadership.Term()
		if t.node.applied.View().Index >= t.last.Load() || term != t.term {
			return nil
		}
		if err := t.node.life.Pause(ctx, retryEvery); err != nil {
			return err
		}
	}
}

// history is this node's applied log as a source of the stream.
type history struct{ node *node }

func (n *node) history() history { return history{n} }

func (h history) Changed() <-chan struct{} { return h.node.applied.Changed() }

func (h history) View() stream.View {
	v := h.node.applied.View()
	view := stream.View{Cursor: v.State.Cursor, Index: v.Index, Reigns: v.State.Reigns, Bytes: v.Bytes}
	switch {
	case v.State.Role() == timeline.Diverged:
		view.Serving = ErrDiverged
	case v.State.Role() == timeline.Secondary && timeline.Latest(v.State.Reigns).Primary == v.State.Region:
		view.Serving = fmt.Errorf("%w: deposed by epoch %d of %s", ErrDiverged, v.State.Yielded.Epoch, v.State.Yielded.Primary)
	case h.node.life.Err() != nil:
		view.Serving = h.node.life.Err()
	}
	return view
}

// sourceCommitted returns a position that nothing acknowledged by the region before exceeds, so that lag is never reported too small.
func (n *node) sourceCommitted(ctx context.Context) (Position, error) {
	c, err := n.reads.Confirmed(ctx)
	return c.Position, err
}

// followingNow describes the stream for status.
func (n *node) followingNow() *fleet.Following {
	f, activity := n.governor.current()
	if f == nil {
		return nil
	}
	lag, status := f.sink.Lag(), f.sink.Status()
	out := &fleet.Following{
		Source: f.source, Connected: status.Connected, Activity: activity,
		LagCommands: lag.Commands, LagBytes: lag.Bytes, LagSeconds: lag.Seconds,
	}
	if !lag.Known {
		out.LagSeconds = -1
	}
	if activity == "" && status.Err != nil {
		out.Activity = "not connected: " + status.Err.Error()
	}
	return out
}
