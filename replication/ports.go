package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/reads"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/rewind"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// groupPort is the Raft group as the rooms see it. They are built before it, since it needs the machine that tells
// them outcomes; it is bound before anything runs.
type groupPort struct{ *raftgroup.Group }

// Leader returns the Raft identity of the region's leader, zero if none is known, and the term.
func (g *groupPort) Leader() (id, term uint64) {
	if g.Group == nil {
		return 0, 0
	}
	status := g.Status()
	return status.Leader, status.Term
}

// DiskStalled returns for how long the log's disk has not finished a write, zero unless that is long.
func (g *groupPort) DiskStalled() time.Duration { return g.Status().DiskStalled }

// account returns what this node answers a member that asks about itself.
func (g *groupPort) account(member, at uint64) (match uint64, log recall.Log) {
	a := g.Account(member, at)
	return a.Match, recall.Log{Leads: a.Leads, Ends: a.Ends, Term: a.Term}
}

// Voters returns the Raft identities of the region's voters.
func (g *groupPort) Voters() []uint64 { return g.Status().Conf.GetVoters() }

// copyPort gives the room of a secondary the copies that this node keeps.
type copyPort struct {
	region  string
	addr    string // of this node
	staging *transfer.Staging
	client  *peer.Client
	node    *node // of which the rewinds are made later
}

// Fetch implements secondary.Copies.
func (c copyPort) Fetch(
	ctx context.Context, addr string, minEpoch Epoch, term uint64, progress func(checkpoint.Progress),
) (string, succession.Copy, error) {
	r := transfer.Request{Region: c.region, Have: c.staging.Partial(), MinEpoch: minEpoch}
	id, d, err := c.staging.Fetch(ctx, addr, r, progress)
	if err != nil {
		return "", succession.Copy{}, err
	}
	c.staging.Keep(id, term)
	return d.Region, succession.Copy{ID: id, Origin: d.Origin}, nil
}

// Offer implements secondary.Copies.
func (c copyPort) Offer(ctx context.Context, addr, id string, term uint64) error {
	_, err := peer.Ask(ctx, c.client, addr, transfer.AskStage, transfer.StageRequest{ID: id, From: c.addr, Term: term})
	return err
}

// Rewind implements secondary.Copies.
func (c copyPort) Rewind(
	ctx context.Context, addr string, index uint64, reigns []timeline.Reign,
) (succession.Copy, error) {
	q := rewind.Request{Index: index, Reigns: reigns}
	made, err := rewind.Made{}, error(nil)
	if addr == "" {
		made, err = c.node.rewinds.Prepare(ctx, q)
	} else {
		made, err = peer.Ask(ctx, c.client, addr, rewind.Ask, q)
	}
	return succession.Copy{ID: made.ID, Origin: made.Origin}, err
}

// Copying implements secondary.Copies.
func (c copyPort) Copying(ctx context.Context, addr string, p Position) error {
	_, err := peer.Ask(ctx, c.client, addr, slots.AskCopying, slots.CopyNotice{Region: c.region, Position: p})
	return err
}

// stagingPort gives the region the copies on this node, wherever they came from.
type stagingPort struct {
	*transfer.Staging
	node *node
}

// Dir implements region.Staging.
func (s stagingPort) Dir(id string) (string, error) {
	if dir, ok := s.node.rewinds.State(id); ok {
		return dir, nil
	}
	return s.Staging.Dir(id)
}

// Discard implements region.Staging.
func (s stagingPort) Discard(id string) {
	s.node.rewinds.Discard(id)
	s.Staging.Discard(id)
}

// Remake implements region.Staging.
func (s stagingPort) Remake(st *timeline.State, index uint64, id string, o *timeline.Origin) {
	s.node.rewinds.Remake(s.node.life.Context(), st, index, id, o)
}

// elections gives the governor the votes, which are made after it.
type elections struct{ node *node }

// Elect implements primary.Elections.
func (e elections) Elect(
	ctx context.Context, r timeline.Reign, operator bool, accept uint64,
) (timeline.Mandate, error) {
	return e.node.votes.Elect(ctx, r, operator, accept)
}

// Sound implements primary.Elections.
func (e elections) Sound(ctx context.Context, accept uint64) (Epoch, error) {
	return e.node.votes.Sound(ctx, accept)
}

// chainPort tells chains of this node's history. The source is made after the room that asks.
type chainPort struct{ node *node }

// Chain implements secondary.Chains.
func (c chainPort) Chain(r Reign, p Position) (Chain, error) { return c.node.source.Chain(r, p) }

// history is this node's applied log as a source of the stream.
type history struct {
	applied *region.Applied
	life    *life.Life
	reads   *reads.Reads
}

// Changed implements stream.History.
func (h history) Changed() <-chan struct{} { return h.applied.Changed() }

// View implements stream.History.
func (h history) View() stream.View {
	v := h.applied.View()
	view := stream.View{Cursor: v.State.Cursor, Index: v.Index, Reigns: v.State.Reigns, Bytes: v.Bytes}
	switch {
	case v.State.Role() == timeline.Diverged:
		view.Serving = ErrDiverged
	case v.State.Role() == timeline.Secondary && timeline.Latest(v.State.Reigns).Primary == v.State.Region:
		yielded := v.State.Yielded
		view.Serving = fmt.Errorf("%w: deposed by epoch %d of %s", ErrDiverged, yielded.Epoch, yielded.Primary)
	case h.life.Err() != nil:
		view.Serving = h.life.Err()
	}
	return view
}

// committed returns a position that nothing acknowledged by the region before exceeds, so that lag is never reported
// too small.
func (h history) committed(ctx context.Context) (Position, error) {
	c, err := h.reads.Committed(ctx)
	return c.Position, err
}
