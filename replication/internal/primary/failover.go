package primary

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Force is what an operator accepts of a failover: with Any that any number of acknowledged commands is lost, else at
// most Within, which only voters can know; nil: nothing.
type Force struct {
	Any    bool
	Within *uint64
	// Unsealed has it spare a primary that is sealed for a handoff: its target may have begun.
	Unsealed bool
	// At is where the region is to begin, in what it has and does not show; nil: at its last position.
	At *contract.Point
}

// of returns whether a region in the state s may be forced, and how many acknowledged commands may be lost.
func (f Force) of(s *timeline.State) (force bool, accepted uint64, err error) {
	switch {
	case f.Any || f.Within == nil:
		return f.Any, timeline.NoBound, nil
	case s.Charter() == nil:
		return false, 0, fmt.Errorf("%w: no votes are taken, so nobody knows how much would be lost: force, and any "+
			"loss is accepted", contract.ErrArgument)
	default:
		return true, *f.Within, nil
	}
}

// Failover makes the region to primary without the old one, at its own last position. Any node takes the call. Without
// force it is ErrNeedsForce: what the old primary had and this region has not will be lost to the fleet, until the old
// region comes back and saves it.
//
// It is also the way out for a primary that is sealed for a handoff whose target is gone for good: forced to itself,
// it begins an epoch above the one that the target may have begun. Should that have happened after all, the target
// gives way and saves what it wrote as a tail; if that is heard in time it is ErrAlreadyBegun, and this region gives
// way.
//
// So it is for a primary that is fenced, if an operator wants it to go on with what it has, and for a region that has
// diverged for a history which is gone for good before it could take a copy of it: if nobody that answers has it, the
// region goes on with what it had given up.
func (g *Governor) Failover(ctx context.Context, to string, force Force) (*contract.MoveReport, error) {
	if err := g.known(to); err != nil {
		return nil, err
	}
	return g.untilFound(ctx, to, func() (*contract.MoveReport, error) { return g.failoverOnce(ctx, to, force) })
}

// RegionFailover makes this node's region primary by force. On a node that does not lead its region it is
// ErrNotLeader; in the primary region it does nothing. While a switchover from here is under way it is ErrNotReady, and
// ErrAlreadyBegun if it is heard that its target has begun: to lose what that may have acknowledged takes a Failover.
func (g *Governor) RegionFailover(ctx context.Context) error {
	s := g.config.Applied.State() // what a fenced or a diverged region has is for an operator to decide
	switch leads := g.config.Leadership.Leads(); {
	case leads && s.Role() == timeline.Primary && s.Seal == nil:
		return nil
	case leads && s.Role() == timeline.Primary && g.config.Standing.Claim().Epoch <= s.Seal.Epoch:
		return succession.UnderWay(s)
	case leads && s.Role() == timeline.Diverged:
		return fmt.Errorf("%w: region %s has to rejoin first", contract.ErrDiverged, g.config.Region)
	}
	_, err := g.failOver(ctx, Force{Any: true, Unsealed: true})
	if errors.Is(err, contract.ErrAlreadyPrimary) {
		return nil
	}
	return err
}

func (g *Governor) failoverOnce(ctx context.Context, to string, force Force) (*contract.MoveReport, error) {
	addr := ""
	if to == g.config.Region {
		if g.config.Leadership.Leads() {
			return g.failOver(ctx, force)
		}
		addr = g.config.Leader.LeaderAddr()
	} else if list := g.config.Fleet.Addresses(to); len(list) > 0 {
		addr = list[0]
	}
	if addr == "" {
		return nil, fmt.Errorf("%w: region %s has no leader that is known here", contract.ErrNotReady, to)
	}
	question := askFailover
	if force.At != nil {
		question = askFailoverAt
	}
	return peer.Order(ctx, g.config.Client, addr, question,
		moveRequest{To: to, Force: force.Any, Accept: force.Within, At: force.At})
}

// forcedHere is failOver for a question that came: about this region, and not by an address of another one.
func forcedHere(ctx context.Context, g *Governor, in moveRequest) (*contract.MoveReport, error) {
	if in.To != "" && in.To != g.config.Region { // a version before does not say
		return nil, fmt.Errorf("%w: an address of region %s leads to region %s", contract.ErrRejected, in.To,
			g.config.Region)
	}
	return g.failOver(ctx, Force{Any: in.Force, Within: in.Accept, At: in.At})
}

// failOver runs on the leader of the region that takes over. Nothing is shown behind the place that it finds before it
// ends.
func (g *Governor) failOver(ctx context.Context, accepts Force) (*contract.MoveReport, error) {
	ctx, over := context.WithCancel(ctx)
	defer over()
	return forced(ctx, g, accepts)
}

func forced(ctx context.Context, g *Governor, accepts Force) (*contract.MoveReport, error) {
	if !g.config.Leadership.Leads() {
		return nil, contract.ErrNotLeader
	}
	report, err := assessed(ctx, g)
	if err != nil {
		return nil, err
	}
	force, accepted, err := accepts.of(g.config.Applied.State())
	if err != nil {
		return nil, err
	}
	loss := lossOf(&g.config)
	if err := succession.May(g.config.Applied.State(), loss != nil); err != nil {
		return nil, err
	}
	report.Warnings = append(report.Warnings, byOrderAlone(g.config.Applied.State(), g.config.Region)...)
	if loss != nil {
		report.Warnings = append(report.Warnings, loss.Holds()+": it gives way, and saves that as a tail")
	}
	if !force {
		return nil, needsForce(g.config.Applied.State(), report)
	}
	// Where the caller leaves meanwhile, not all of them were asked: then order begins nothing.
	if g.config.Applied.State().Diverged != nil && g.siblings(ctx) < timeline.LevelKeep {
		return nil, fmt.Errorf("%w: region %s has diverged, and a node of it runs a version that cannot go on with "+
			"what the region gave up; upgrade all its nodes first", contract.ErrDiverged, g.config.Region)
	}
	order := succession.Takeover{Fenced: loss != nil, Operator: true, Accept: accepted, Unsealed: accepts.Unsealed}
	if order.At, err = (latecomer{g}).place(ctx, accepts.At, report); err != nil {
		return nil, err
	}
	if g.config.Applied.State().Charter() != nil {
		sounding, cancel := context.WithTimeout(ctx, findTimeout)
		order.Epoch, err = g.config.Elections.Sound(sounding, accepted)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	r := g.order(ctx, func(call uint64) succession.Input { order.Call = call; return order })
	if r.Err != nil {
		return nil, r.Err
	}
	if r.Mandate != nil {
		report.Loss += "; " + atMost(r.Mandate.Lost)
	}
	complete(report, r.Reign, accepts.At == nil)
	g.config.Logger.Warn("took over by force", "epoch", report.Epoch, "from", report.From, "position", report.Position,
		"behind", report.Behind, "known", report.BehindKnown)
	return report, nil
}

// complete completes the report of a reign that began. What was missing when this region was asked may have come before
// that, where it begins at its end and had not diverged.
func complete(report *contract.MoveReport, r *timeline.Reign, atEnd bool) {
	asked := report.Position
	report.Epoch, report.Position, report.Lossy = r.Epoch, r.First-1, true
	if !atEnd || asked == 0 || report.Position <= asked || report.Behind == 0 {
		return
	}
	came := min(report.Behind, uint64(report.Position-asked))
	report.Behind -= came
	report.Loss += fmt.Sprintf("; of these %d came before epoch %d began", came, r.Epoch)
}

// needsForce says why the region in the state s takes over by force alone.
func needsForce(s *timeline.State, report *contract.MoveReport) error {
	switch {
	case s.Seal != nil:
		return fmt.Errorf("%w: region %s is sealed for %s, which may have begun epoch %d and taken writes; if it is "+
			"lost for good, force", contract.ErrNeedsForce, s.Region, s.Seal.To, s.Seal.Epoch+1)
	case report.From == "":
		return fmt.Errorf("%w: nobody that answers has a history, and region %s would begin one; what a region that "+
			"does not answer has becomes a tail; force", contract.ErrNeedsForce, s.Region)
	default:
		return fmt.Errorf("%w: %s; use switchover while the primary answers, or force", contract.ErrNeedsForce,
			strings.Join(append([]string{report.Loss}, report.Warnings...), "; "))
	}
}

// assessed asks every region once more, and is assess where this region may begin an epoch by what they say.
func assessed(ctx context.Context, g *Governor) (*contract.MoveReport, error) {
	seen := g.freshView(ctx)
	switch { // who was not waited for is not silent
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: nothing was moved, since the other regions were being asked: %w",
			contract.ErrNotReady, contract.Ended(ctx))
	case g.config.Life.Failure() != nil:
		return nil, g.config.Life.Failure()
	case !g.config.Leadership.Leads():
		return nil, contract.ErrNotLeader
	}
	if err := hasVote(g.config.Applied.State(), seen.View); err != nil {
		return nil, err
	}
	return g.assess(seen), nil
}

// lossOf returns what this region, which this node leads, is known to have lost of its own reign, nil if nothing is.
func lossOf(c *Config) *standing.Loss {
	picture, _ := c.Fleet.View() // before what was written meanwhile
	reached := c.Decider.Reached()
	return c.Standing.Loss(picture, c.Applied.State(), reached)
}

// hasVote returns nil unless the fleet votes about its primary, as far as was heard, and this region does not:
// nobody would know of an epoch that it begins, and another region could go on beside it.
func hasVote(s *timeline.State, v fleet.View) error {
	region, _ := v.Votes()
	if s.Charter() != nil || region == "" {
		return nil
	}
	return fmt.Errorf("%w: region %s votes about who is primary, and region %s has no vote: its ballot is lost, or it "+
		"came later; if a majority of those that have one is lost for good: mimir fleet recover --keep %s",
		contract.ErrRejected, region, s.Region, s.Region)
}

// atMost says what a majority of voters knows of a loss.
func atMost(lost uint64) string {
	if lost == timeline.NoBound {
		return "how many acknowledged commands that are at most, the voters do not know"
	}
	return fmt.Sprintf("by what a majority of the voters knows, at most %d acknowledged commands are lost", lost)
}

// sight is what was seen of the fleet when everybody was asked once more.
type sight struct {
	fleet.View
	began time.Time // of the asking
}

// heard returns what is known of a region, and whether any of its nodes answered when it was asked.
func (s sight) heard(name string) (fleet.Region, bool) {
	r := s.Regions[name]
	return r, len(r.Nodes) > 0 && !r.Asked.Before(s.began)
}

// freshView asks every region once more, and waits until each has answered or the time of a question is over for it
// (G4). A region that has a vote learns from the voters what it has not heard. One that has none goes by what it hears
// (G5): a region of whose leader it has heard nothing since it started it asks for peer.SilentFor, from the first to
// the last question.
func (g *Governor) freshView(ctx context.Context) sight {
	began := g.config.Clock.Now()
	for {
		last := g.config.Clock.Now()
		seen := sight{askedSince(ctx, g), began}
		votes, _ := seen.Votes()
		knows := g.config.Applied.State().Charter() != nil || votes != "" || len(unheard(seen.View)) == 0
		if knows || last.Sub(began) >= peer.SilentFor || !g.config.Leadership.Leads() ||
			g.config.Life.Pause(ctx, askAgain) != nil {
			return seen
		}
	}
}

// askedSince asks every region, and returns what is seen when each has answered or the time of a question is over for
// it.
func askedSince(ctx context.Context, g *Governor) fleet.View {
	g.config.Fleet.RefreshAnew()
	// Behind that: an earlier round may go by what was before.
	began := g.config.Clock.Now()
	timer := g.config.Clock.NewTimer(2*g.config.CallTimeout + findAgain) // a round may be under way that began before
	defer timer.Stop()
	for {
		v, changed := g.config.Fleet.View()
		asked := true
		for _, r := range v.Regions {
			asked = asked && !r.Asked.Before(began)
		}
		if asked {
			return v
		}
		select {
		case <-changed:
		case <-timer.C():
			return v
		case <-ctx.Done():
			return v
		}
	}
}
