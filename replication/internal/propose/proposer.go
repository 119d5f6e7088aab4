package propose

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Group is the region's log.
type Group interface {
	// Propose appends payloads in term and returns the index of the first. Errors as of raftgroup: nothing was
	// appended, ErrStopped excepted.
	Propose(ctx context.Context, term uint64, payloads [][]byte) (first uint64, err error)
}

// Standing is what this node knows of who may write.
type Standing interface {
	// MayWrite returns the applied place, whether this region takes the fleet's writes, and if so, whether it may write
	// there: below its ceiling. reached is the last position that was proposed here in this reign, zero for none. It
	// must not block.
	MayWrite(reached timeline.Position) (at timeline.Cursor, reigns, below bool)
	// Route returns where writes go now.
	Route() standing.Route
	// Admits reports whether what was written up to p in the epoch e may be acknowledged now, once it is in so many
	// regions. It must not block.
	Admits(e timeline.Epoch, p timeline.Position) (regions int, ok bool)
	// Deposed reports whether a later epoch than e is known to have begun: nothing of e will be admitted any more.
	Deposed(e timeline.Epoch) bool
	// Inherited reports whether another region is known to reign after e, and to have what was written in it up to p.
	// It must not block.
	Inherited(e timeline.Epoch, p timeline.Position) bool
	// Cut returns the reign that is known to have begun before p and after the epoch e: what was written there in e is
	// in no history any more. It must not block.
	Cut(e timeline.Epoch, p timeline.Position) (by timeline.Reign, ok bool)
	// Bound returns up to where may be acknowledged in the reign of s, of what is in so many regions; ok is false if
	// nothing bounds what a failover may lose.
	Bound(s *timeline.State) (p timeline.Position, regions int, ok bool)
}

// Fleet can be asked for news of who is primary.
type Fleet interface{ Refresh() }

// Durability knows in which regions a write is.
type Durability interface {
	// Await calls done once: with r when k regions have the applied write, and as many as have to before it is
	// acknowledged, or with r and ErrUnderReplicated when that cannot be waited for any longer, at the deadline at the
	// latest (zero: none), and soon after left reports that nobody waits; or with ErrUnknownOutcome when the write was
	// cut from the history. It sets r.Regions.
	Await(k int, r *contract.Receipt, deadline time.Time, left func() bool, done func(*contract.Receipt, error))
	// Reached returns the last position of the history s that k regions have.
	Reached(k int, s *timeline.State) contract.Position
}

// Gate says whether writes are held back. It does not block.
type Gate interface {
	// Verdict returns for how long a batch has to wait for the one before it, and why no writes are taken at all.
	Verdict() laggate.Verdict
}

// Config is what a Proposer needs. All fields but Gate are required.
type Config struct {
	Group      Group
	Standing   Standing
	Fleet      Fleet
	Durability Durability
	Gate       Gate // may be nil: it is open
	Applied    *region.Applied
	Life       *life.Life
	Transport  transport.Transport
	Clock      clock.Clock
	Logger     *slog.Logger

	Regions         func() int // in the fleet that can count for a write, this one included; it does not block
	MaxCommandBytes int        // bounds one proposal
	FrameBytes      int        // where a frame of waiting proposals is closed
	WindowBytes     int64      // of commands proposed but not yet applied

	CommandLevel func(command []byte) timeline.Level // may be nil
	Tracer       contract.Tracer                     // may be nil
}

// Proposer takes writes, controls and beginnings of epochs to the region's log. It is safe for concurrent use. It
// implements region.Proposers.
type Proposer struct {
	config    Config
	pipeline  *pipeline
	parking   *parking
	forwarder *forwarder
	router    *router
}

var _ region.Proposers = (*Proposer)(nil)

// New returns a Proposer. What is proposed waits for Run, and no frame is made before Lead.
func New(c Config) *Proposer {
	p := &Proposer{config: c, parking: newParking()}
	p.pipeline = newPipeline(&c, p.parking)
	p.forwarder = newForwarder(&c, p.parking)
	p.router = &router{
		clock: c.Clock, standing: c.Standing, fleet: c.Fleet, gate: c.Gate,
		pipeline: p.pipeline, forwarder: p.forwarder, parking: p.parking,
	}
	return p
}

// Run does the work until ctx ends.
func (p *Proposer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { p.router.run(ctx) })
	wg.Go(func() { p.pipeline.run(ctx) })
	wg.Wait()
}

// Lead says that this node leads term, and has applied everything before it.
func (p *Proposer) Lead(term uint64) { p.pipeline.lead(term) }

// StepDown says that this node does not lead. What is in flight stays: the log will tell what became of it.
func (p *Proposer) StepDown() { p.pipeline.stepDown() }

// Evaluate looks anew at whether this region may write. It is called whenever that may have changed.
func (p *Proposer) Evaluate() { p.pipeline.evaluate() }

// Reached returns the last position that was proposed here in this reign and may be in the log, zero if none was.
func (p *Proposer) Reached() timeline.Position { return p.pipeline.lastProposed() }

// Stalled reports whether something was proposed so long ago, and is not applied.
func (p *Proposer) Stalled(longer time.Duration) bool { return p.pipeline.stalled(longer) }

// Open reports whether this node takes the fleet's writes now, though they may wait at its ceiling.
func (p *Proposer) Open() bool { return p.Tenure() != contract.Tenure{} }

// Tenure returns the one in which this node takes the fleet's writes; the zero Tenure if it takes none now. It goes on
// while writes wait at the ceiling.
func (p *Proposer) Tenure() contract.Tenure { return p.pipeline.tenureNow() }

// Waiting implements region.Proposers.
func (p *Proposer) Waiting() bool { return p.pipeline.waiting() }

// Resolve implements region.Proposers.
func (p *Proposer) Resolve(outcomes []region.Outcome) { p.pipeline.resolve(outcomes) }

// Overtaken implements region.Proposers.
func (p *Proposer) Overtaken() { p.pipeline.overtaken() }

// Abandon ends everything that waits with err, because the node stops. Nothing is taken afterwards.
func (p *Proposer) Abandon(err error) {
	p.pipeline.abandon(err)
	p.parking.abandon(err)
}

// Wait returns when no link to another node is left; they end with the node's life.
func (p *Proposer) Wait() { p.forwarder.wait() }
