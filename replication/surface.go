package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/propose"
)

// Replicator is what a node of one replicated history offers. [RaftReplicator] implements it for one region alone,
// [MultiRegionReplicator] for a fleet. All methods are safe for concurrent use, and none panics on misuse.
//
// Every method that returns an error returns ErrNotReady before Start has returned, ErrClosed after Shutdown, and
// ErrStopped when the node had to stop itself.
type Replicator interface {
	// Start opens the log, joins the region and returns once this node follows or leads; it does not wait for a
	// leader. A node is started once; a start that failed may be repeated, and is refused if it was the Storage that
	// failed: open that anew, and make another Replicator with it.
	Start(ctx context.Context) error
	// Apply writes one command and returns once it is committed and applied in the primary region. A node that is not
	// the primary's leader forwards it. The timeout must be positive. Errors: ErrArgument, ErrNotReady, ErrLagging,
	// ErrTooLarge and ErrRejected (certainly not applied), ErrUnderReplicated (applied, where nothing may be lost, and
	// not yet known to be in as many regions as that needs), ErrUnknownOutcome, ErrClosed, ErrStopped.
	Apply(c *Command, timeout time.Duration) error
	// ApplyBatch writes 1 to 65,536 commands, of Config.MaxCommandBytes in total, as one atomic unit: at consecutive
	// positions, all or none. Errors are those of Apply.
	ApplyBatch(cs []*Command, timeout time.Duration) error
	// IsLeader reports whether this node leads its region.
	IsLeader() bool
	// LeaderAddr returns the peer address of the region's leader, "" if none is known.
	LeaderAddr() string
	// LeaderID returns the NodeID of the region's leader, "" if none is known.
	LeaderID() string
	// Health returns a fresh picture of this node. It never waits, neither for the network nor for a Start or Shutdown
	// under way.
	Health() *HealthStatus
	// WaitForLeader returns once a leader of the region is known, or with the context's error.
	WaitForLeader(ctx context.Context) error
	// Shutdown stops the node in good order; unfinished calls return ErrClosed. It returns when everything that the
	// node began is over: from then on it does not use the Storage any more, also if it had stopped itself. Further
	// calls only wait for that. Nothing that the node calls may wait for it: no method of the Storage, and no function
	// of Config.
	Shutdown() error
	// Mode tells one region from many.
	Mode() ReplicationMode
	// NodeID returns Config.NodeID.
	NodeID() string
}

// ReplicationMode tells how far a Replicator replicates.
type ReplicationMode string

// Modes.
const (
	ModeRaft        ReplicationMode = "raft"
	ModeMultiRegion ReplicationMode = "multi-region"
)

var (
	_ Replicator = (*RaftReplicator)(nil)
	_ Replicator = (*MultiRegionReplicator)(nil)
)

// ProposeOption changes what Propose waits for.
type ProposeOption func(*propose.Options)

// WithRegions makes Propose return only when the write is durable with the quorums of k regions, the primary's
// included. If that takes longer than the context allows, Propose returns the receipt together with
// ErrUnderReplicated: the write is applied in the primary, and may be lost with it. Where nothing may be lost, regions
// without a vote do not count. k is 1 to MaxRegions: else it is ErrArgument, and nothing is written.
func WithRegions(k int) ProposeOption {
	return func(o *propose.Options) { o.Regions, o.Named = k, 0 }
}

// MaxRegions is the greatest number of regions that WithRegions takes.
const MaxRegions = propose.MaxRegions

// WithAllRegions is WithRegions with as many as the fleet has when the write is applied, by what the leader of the
// primary knows. One of an earlier version refuses that with ErrRejected: it takes numbers alone.
func WithAllRegions() ProposeOption { return named(propose.AllRegions) }

// WithQuorumOfRegions is WithRegions with a majority of those, likewise.
func WithQuorumOfRegions() ProposeOption { return named(propose.QuorumOfRegions) }

func named(regions propose.Named) ProposeOption {
	return func(o *propose.Options) { o.Regions, o.Named = 1, regions }
}

// WithinTenure makes Propose write only on this node and only in its tenure t: for what was decided in t and is void
// when another node may have decided since. It is never forwarded, nor proposed anew. ErrNotLeader says that the
// tenure is over; nothing was and will be written then.
func WithinTenure(t Tenure) ProposeOption {
	return func(o *propose.Options) { o.Bound, o.Tenure = true, t }
}

// optionsOf adds up the options of a write, and checks what its caller gave.
func optionsOf(cs []*Command, opts []ProposeOption) (propose.Options, error) {
	o := propose.Options{Regions: 1}
	for _, option := range opts {
		if option == nil {
			return o, fmt.Errorf("%w: an option is nil", ErrArgument)
		}
		option(&o)
	}
	switch {
	case len(cs) == 0:
		return o, fmt.Errorf("%w: no commands", ErrArgument)
	case slices.Contains(cs, nil):
		return o, fmt.Errorf("%w: one of %d commands is nil", ErrArgument, len(cs))
	case o.Regions < 1 || o.Regions > MaxRegions:
		return o, fmt.Errorf("%w: durable in %d regions, 1 to %d can be asked for", ErrArgument, o.Regions, MaxRegions)
	}
	return o, nil
}

// applyBatch is a write that waits as long as timeout.
func applyBatch(n *node, cs []*Command, timeout time.Duration) error {
	if timeout <= 0 {
		return fmt.Errorf("%w: timeout %v", ErrArgument, timeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := write(ctx, n, cs, nil)
	return err
}

func write(ctx context.Context, n *node, cs []*Command, opts []ProposeOption) (*Receipt, error) {
	if err := n.callable(ctx); err != nil {
		return nil, err
	}
	o, err := optionsOf(cs, opts)
	if err != nil {
		return nil, err
	}
	n.writes.pending.Add(1)
	defer n.writes.pending.Add(-1)
	receipt, err := n.proposer.Propose(ctx, cs, o)
	if isFailure(err) {
		n.writes.failed.Add(1)
	}
	if receipt != nil {
		n.reads.Told(receipt.Position)
	}
	return receipt, err
}

// writes counts what was asked of this node.
type writes struct {
	pending atomic.Int64
	failed  atomic.Uint64
}

// isFailure reports whether a write was tried and has no outcome: one that was refused for what it is was not, and one
// that is in fewer regions than asked for has one.
func isFailure(err error) bool {
	if err == nil {
		return false
	}
	for _, kind := range []error{ErrArgument, ErrTooLarge, ErrUnknownRegion, ErrUnderReplicated} {
		if errors.Is(err, kind) {
			return false
		}
	}
	return true
}
