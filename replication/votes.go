package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/votes"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// VoteSettings are what an operator says about votes. Lease is how long a voter supports a primary without hearing
// from it, and Patience how long a region waits beyond that before it asks for votes; DriftPPM bounds how wrong clocks
// run. MaxLoss is how many acknowledged commands a failover may lose; AnyLoss: any; 0: none, every write waits for
// further regions. Witnesses are addresses by name.
type VoteSettings = votes.Settings

// VoteChange is what an operator changes of a charter; what is nil or empty stays. Remove is a voter, Add a region that
// is to vote, Witness the name of a witness that is to, at Addrs. FlapMoves and FlapWithin (1 s to 24 h) bound how
// often the primary moves by itself; Failback (at most 24 h; 0: off) is for how long a region of a higher priority has
// to keep up before it takes over by a switchover. Priorities, by region, are these.
type VoteChange = votes.Change

// Charter says who votes, and by which rules.
type Charter = timeline.Charter

// AnyLoss is a budget without a bound.
const AnyLoss = timeline.NoBound

// DefaultFlap is how often the primary moves by itself where nobody says otherwise.
var DefaultFlap = timeline.DefaultFlap

// DefaultVotes are the settings of a fleet whose operator says nothing else.
func DefaultVotes() VoteSettings {
	return VoteSettings{
		Automatic: true, Lease: 3 * time.Second, Patience: time.Second, DriftPPM: 10_000, MaxLoss: 10_000,
	}
}

// Voting is what an operator does with votes about the primary. Its methods are safe for concurrent use.
type Voting struct{ node *node }

// Voting returns what there is to do with votes about the primary.
func (r *MultiRegionReplicator) Voting() *Voting { return &Voting{r.node} }

func (r *Voting) orders() votes.Orders { return votes.Orders{Votes: r.node.votes} }

// Enable has regions and witnesses vote about who is primary from now on, and the primary move by itself if the
// settings say so. Any node takes the call; it cannot be taken back. Errors: ErrArgument; ErrRejected if votes are
// taken already; ErrNotReady with who does not answer or is too old; ErrUnknownOutcome.
func (r *Voting) Enable(ctx context.Context, s VoteSettings) (*Charter, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if fault := votesFault(&s); fault != "" {
		return nil, fmt.Errorf("%w: %s", ErrArgument, fault)
	}
	return r.orders().Enable(ctx, s)
}

// Pause has nothing move by itself while reason is not empty; "" lets it again. Fencing stays on. Errors: as
// of Enable.
func (r *Voting) Pause(ctx context.Context, reason string) (*Charter, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.orders().Pause(ctx, reason)
}

// Hold has the primary stay where it is for d, more than a lease and at most timeline.MaxHold, and go on although
// other voters are away: for planned work on them, or on the network. Who is reached when it is ordered promises it; a
// majority has to be. Meanwhile nothing but an order of Recover moves the primary, and a failover may lose any number
// of commands. It takes the place of a hold before; zero ends it. It does not outlast a change of the leader of the
// primary unless a majority is reached then. Any node takes the call. Errors: as of Enable; ErrRejected if it is to end
// and there is none; ErrNotReady if no majority supports the primary without the hold that there is: to end, it ends
// then as soon as one does, and another one is not taken; ErrArgument where writes wait for other regions.
func (r *Voting) Hold(ctx context.Context, d time.Duration) (*Charter, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if d < 0 || d > timeline.MaxHold {
		return nil, fmt.Errorf("%w: a hold of %v, at most %v", ErrArgument, d, timeline.MaxHold)
	}
	return r.orders().Hold(ctx, d)
}

// Change changes who votes, one voter removed and one added at most, and by which rules. Any node takes the call; the
// primary needs a lease. A budget that is lowered holds for what a later epoch acknowledges: in this one, voters have
// agreed to more. Errors: as of Enable. ErrUnknownOutcome: it is written, at least in part; see Status.
func (r *Voting) Change(ctx context.Context, c VoteChange) (*Charter, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if fault := changeFault(&c); fault != "" {
		return nil, fmt.Errorf("%w: %s", ErrArgument, fault)
	}
	return r.orders().Change(ctx, c)
}

// Recover makes region primary, and the only voter, without asking the others: for when a majority of votes is lost
// for good. Whoever orders it answers for that no client reaches the others any more. Afterwards Enable may be
// called again, when enough of them are back. Errors: ErrRejected, ErrUnknownRegion, ErrNotReady, ErrUnknownOutcome.
func (r *Voting) Recover(ctx context.Context, region string) (*Reign, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if !slices.Contains(r.node.roster.All(), region) {
		return nil, fmt.Errorf("%w: %q", ErrUnknownRegion, region)
	}
	return r.orders().Recover(ctx, region, nil)
}

// RecoverAt is Recover of a region that shows its history late (Config.ApplyDelay), at a point in what it has and does
// not show: what it has behind that is saved as a tail, on each of its nodes, and never applied. Errors: as of Recover;
// ErrRejected also with a point that is elsewhere.
func (r *Voting) RecoverAt(ctx context.Context, region string, at Point) (*Reign, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if !slices.Contains(r.node.roster.All(), region) {
		return nil, fmt.Errorf("%w: %q", ErrUnknownRegion, region)
	}
	if fault := pointFault(&at); fault != "" {
		return nil, fmt.Errorf("%w: %s", ErrArgument, fault)
	}
	return r.orders().Recover(ctx, region, &at)
}

// Status describes who votes and what the promises come to, as this node sees it; nil where no votes are taken.
func (r *Voting) Status() *VoteStatus {
	if !r.node.serves() {
		return nil
	}
	return r.node.votes.Status()
}
