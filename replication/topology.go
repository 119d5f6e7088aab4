package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/roster"
)

// RegionAddition is a region that is to be one of the fleet: Region, its name; Peers, where nodes of it are reached;
// Source, the region that it is to follow and to have its first copy of, "" for the primary; Try has everything looked
// at, and nothing written.
type RegionAddition = roster.Addition

// RegionRemoval is a region that is to be none of the fleet any more: Region, its name; Gone says that no node of it
// runs, and none comes back; LoseTail, that what it holds alone may be lost; Try has everything looked at, and nothing
// written.
type RegionRemoval = roster.Removal

// RegionSourcing says whom a region is to follow: Region, its name; Source, that of the other one, "" for the primary;
// Try has everything looked at, and nothing written.
type RegionSourcing = roster.Sourcing

// RegionChange is what became of such an order: Epoch and Number of the roster that is in force, and Regions, which it
// has; Written, whether this order wrote it; Source, whom an added region is to follow; Steps, in words, what was
// looked at and done, or would be done.
type RegionChange = roster.Change

// What a RegionStatus says of a region's place in the fleet.
type (
	// KnownFrom is from where a node knows of a region.
	KnownFrom = contract.KnownFrom
	// RegionVote tells whether a region votes about the primary.
	RegionVote = contract.Vote
	// SlotPosition is what the primary keeps for a region.
	SlotPosition = contract.SlotPosition
	// RosterMark names a roster: which regions the fleet has, as state of it.
	RosterMark = contract.RosterMark
)

// Values of KnownFrom and RegionVote.
const (
	FromConfiguration = contract.FromConfiguration
	FromRoster        = contract.FromRoster
	VoteYes           = contract.VoteYes
	VoteNo            = contract.VoteNo
	VoteNone          = contract.VoteNone
	VoteUnknown       = contract.VoteUnknown
)

// Topology is what an operator does with the regions of a fleet while it runs. With its first order, the regions are
// state of the fleet, in the log of each, and no longer what Config.Regions says; every node has to know that. Its
// methods are safe for concurrent use.
type Topology struct{ node *node }

// Topology returns what there is to do with the regions of the fleet.
func (r *MultiRegionReplicator) Topology() *Topology { return &Topology{r.node} }

// Add has a region be one of the fleet. All its nodes have to run, with empty data directories or such that have a part
// of this history; Config.Regions of each names any region of the fleet, and Config.FleetExists is set. They follow
// from then on, by themselves; that is not waited for. A region that is one already may be given other addresses. Any
// node takes the call. Errors: ErrArgument, also for the primary; ErrRejected if the region has a history of its own;
// ErrNotReady with who does not answer or is too old; ErrUnknownOutcome. ErrRejected also for the name of a region that
// was removed before it was known to have a roster.
func (t *Topology) Add(ctx context.Context, a RegionAddition) (*RegionChange, error) {
	if err := t.node.callable(ctx); err != nil {
		return nil, err
	}
	return t.node.roster.Add(ctx, a)
}

// Remove has a region be none of the fleet any more, now and after restarts: its vote goes first, by the rules of
// Voting.Change, then what it acknowledged, its slot and the log that is kept for it. Its nodes hear of it, and end
// with ErrRemoved; they do not start again on their data directories. Any node takes the call. Errors: ErrArgument for
// the primary, and where the voters that stay could not do without any of them; ErrUnknownRegion; ErrRejected if it
// does not answer and is not said to be gone, or may hold what nobody else has; ErrNotReady with who does not answer or
// is too old; ErrUnknownOutcome.
func (t *Topology) Remove(ctx context.Context, r RegionRemoval) (*RegionChange, error) {
	if err := t.node.callable(ctx); err != nil {
		return nil, err
	}
	return t.node.roster.Remove(ctx, r)
}

// Follow says which region another one follows while it is secondary and that is well: its lag, and what it has for
// writes that wait, come through that hop. While it is not well, or does not lead to the primary, the region follows
// the primary or another one by itself, and goes back. Any node takes the call. Errors: ErrArgument where regions would
// follow each other, ErrUnknownRegion, ErrNotReady with who does not answer or is too old, ErrUnknownOutcome.
func (t *Topology) Follow(ctx context.Context, o RegionSourcing) (*RegionChange, error) {
	if err := t.node.callable(ctx); err != nil {
		return nil, err
	}
	return roster.SourcesOf(t.node.roster).Follow(ctx, o)
}
