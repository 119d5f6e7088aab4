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
		Addresses:   func() []string { return n.addressesOf(source) },
		WindowBytes: n.config.StreamWindowBytes,
	})
}

// addressesOf returns where to reach the region: its leader first, then who else answered, then the rest.
func (n *node) addressesOf(region string) []string {
	v, _ := n.fleet.View()
	r := v.Regions[region]
	var list []string
	add := func(addr string) {
		for _, a := range list {
			if a == addr {
				return
			}
		}
		list = append(list, addr)
	}
	if l := r.Leader(); l != nil {
		add(l.Asked)
	}
	for i := range r.Nodes {
		add(r.Nodes[i].Asked)
	}
	for _, a := range n.config.Regions[region] {
		add(a)
	}
	return list
}

// taker is this region as the stream sees it. It takes entries only while this node leads the term it was made for.
type taker struct {
	node *node
	term uint64
	last atomic.Uint64 // index of the last entry proposed
}

func (t *taker) Cursor() timeline.Cursor  { return t.node.applier.board.get().state.Cursor }
func (t *taker) Reigns() []timeline.Reign { return t.node.applier.board.get().state.Reigns }
func (t *taker) Changed() <-chan struct{} { return t.node.applier.board.changed() }
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
		term, _ := t.node.governor.leads()
		if t.node.applier.board.get().index >= t.last.Load() || term != t.term {
			return nil
		}
		if err := t.node.pause(ctx, retryEvery); err != nil {
			return err
		}
	}
}

// history is this node's applied log as a source of the stream.
type history struct{ node *node }

func (n *node) history() history { return history{n} }

func (h history) Changed() <-chan struct{} { return h.node.applier.board.changed() }

func (h history) View() stream.View {
	v := h.node.applier.board.get()
	view := stream.View{Cursor: v.state.Cursor, Index: v.index, Reigns: v.state.Reigns, Bytes: v.bytes}
	switch {
	case v.state.Role() == timeline.Diverged:
		view.Serving = ErrDiverged
	case v.state.Role() == timeline.Secondary && timeline.Latest(v.state.Reigns).Primary == v.state.Region:
		view.Serving = fmt.Errorf("%w: deposed by epoch %d of %s", ErrDiverged, v.state.Yielded.Epoch, v.state.Yielded.Primary)
	case h.node.err() != nil:
		view.Serving = h.node.err()
	}
	return view
}

// sourceCommitted returns a position that nothing acknowledged by the region before exceeds, so that lag is never reported too small.
func (n *node) sourceCommitted(ctx context.Context) (Position, error) {
	c, err := n.confirmedPosition(ctx)
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
