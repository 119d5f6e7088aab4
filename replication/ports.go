package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/reads"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/rewind"
	"github.com/mimir-kv/mimir/replication/internal/roster"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/votes"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// machine is the applier as the Raft group has it.
type machine struct {
	*region.Applier
	life *life.Life
}

// Inspect implements raftgroup.Machine. A state that this node is too old for ends it before anything of that is kept:
// its region goes on without it.
func (m machine) Inspect(dir string) (index, term uint64, conf *raftpb.ConfState, err error) {
	index, term, conf, err = m.Applier.Inspect(dir)
	if errors.Is(err, timeline.ErrVersion) {
		m.life.Fail(fmt.Errorf("state of another node of the region: %w", asDamage(err)))
	}
	return index, term, conf, err
}

// roomPort has the applier wait for room on the disk until the node ends.
type roomPort struct {
	*raftgroup.Room
	life *life.Life
}

// Await implements region.Room.
func (r roomPort) Await(err error) bool { return r.Room.Await(r.life.Context(), err) }

// groupPort is the Raft group as the rooms see it. They are built before it, since it needs the machine that tells
// them outcomes; it is bound before anything runs.
type groupPort struct{ *raftgroup.Group }

// Leader returns the Raft identity of the region's leader, zero if none is known, and the term.
func (g *groupPort) Leader() (id, term uint64) {
	if g.Group == nil {
		return 0, 0
	}
	status := g.Glimpse()
	return status.Leader, status.Term
}

// DiskStalled returns for how long the log's disk has not finished a write, zero unless that is long.
func (g *groupPort) DiskStalled() time.Duration { return g.Glimpse().DiskStalled }

// MachineHung returns for how long the storage has not finished one step, zero unless that is long.
func (g *groupPort) MachineHung() time.Duration { return g.Glimpse().MachineHung }

// account returns what this node answers a member that asks about itself.
func (g *groupPort) account(member, at uint64) (match uint64, log recall.Log) {
	a := g.Account(member, at)
	return a.Match, recall.Log{
		Leads: a.Leads, Ends: a.Ends, Committed: a.Committed, CommittedTerm: a.CommittedTerm, Term: a.Term,
		Ahead: a.Ahead, Last: a.Last, LastTerm: a.LastTerm,
	}
}

// DiskFull returns for how long the log, or what has to be saved, has found no room on the disk, zero if it has.
func (g *groupPort) DiskFull() time.Duration { return g.Glimpse().DiskFull }

// Kept says why this node helps nobody to lead, "" if it does.
func (g *groupPort) Kept() string { return g.Glimpse().Kept }

// Voters returns the Raft identities of the region's voters.
func (g *groupPort) Voters() []uint64 { return g.Glimpse().Conf.GetVoters() }

// late are rooms that others are given before they are made, since the two need each other. They are bound before
// anything runs.
type late struct {
	votes   *votes.Votes
	roster  *roster.Keeper
	source  *stream.Source
	caps    caps
	rewinds *rewind.Rewinds
}

// elections gives the governor the votes, and has them look at news, and whoever knows the regions.
type elections struct{ late *late }

// Nudge implements leading.Votes.
func (e elections) Nudge() {
	e.late.votes.Nudge()
	e.late.roster.Nudge()
}

// Elect implements primary.Elections.
func (e elections) Elect(
	ctx context.Context, r timeline.Reign, operator bool, accept uint64,
) (timeline.Mandate, error) {
	return e.late.votes.Elect(ctx, r, operator, accept)
}

// Sound implements primary.Elections.
func (e elections) Sound(ctx context.Context, accept uint64) (Epoch, error) {
	return e.late.votes.Sound(ctx, accept)
}

// chainPort tells chains of this node's history.
type chainPort struct{ late *late }

// Chain implements secondary.Chains.
func (c chainPort) Chain(r Reign, p Position) (Chain, error) { return c.late.source.Chain(r, p) }

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

// committed returns a position that nothing acknowledged by the primary before exceeds, so that lag is never reported
// too small, also by who follows a secondary.
func (h history) committed(ctx context.Context) (Position, error) {
	c, err := h.reads.Committed(ctx)
	return c.Position, err
}
