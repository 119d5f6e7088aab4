package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

type moveRequest struct {
	To    string `json:"to,omitempty"`
	Force bool   `json:"force,omitempty"`
}

// handover is what the two regions of a switchover say to each other.
type handover struct {
	From    string          `json:"from"`
	To      string          `json:"to"`
	Epoch   Epoch           `json:"epoch"` // that ends
	Handoff uint64          `json:"handoff"`
	End     timeline.Cursor `json:"end"` // where it ends
}

const (
	// findTimeout is how long a move looks for the leader that can do it.
	findTimeout = 15 * time.Second
	// catchUpTimeout is how long a switchover waits, before it seals, for the target to be close.
	catchUpTimeout = 30 * time.Second
	// handoverTimeout is how long writes pause at most before a switchover is aborted.
	handoverTimeout = 10 * time.Second
	// closeCommands is how many commands behind counts as close.
	closeCommands = 10_000
)

// Switchover moves the primary to the region to, without losing anything. Any node takes the call. On ErrHandoff the primary
// is what it was; on ErrUnknownOutcome the region ends what was begun by itself, one way or the other.
func (n *node) Switchover(ctx context.Context, to string) (*MoveReport, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	if _, ok := n.config.Regions[to]; !ok && to != n.config.RegionID {
		return nil, fmt.Errorf("%w: %q; known are %s", ErrUnknownRegion, to, n.regionNames())
	}
	report, err := n.untilFound(ctx, to, func() (*MoveReport, error) { return n.moveOnce(ctx, to) })
	if peer.Elsewhere(err) {
		err = fmt.Errorf("the primary region does not answer; if it is lost, a failover moves the primary without it: %w", err)
	}
	return report, err
}

// untilFound repeats a move that has not reached the leader it needs: an election may be under way. It gives up after findTimeout, so
// that no move begins long after it was asked for.
func (n *node) untilFound(ctx context.Context, to string, move func() (*MoveReport, error)) (*MoveReport, error) {
	began, before := n.config.Clock.Now(), n.claim()
	for tries := 1; ; tries++ {
		report, err := move()
		if tries > 1 && errors.Is(err, ErrAlreadyPrimary) {
			return n.moved(ctx, before, to, err)
		}
		if err == nil || !peer.Elsewhere(err) || n.config.Clock.Now().Sub(began) > findTimeout {
			return report, err
		}
		n.fleet.Refresh()
		if n.life.Pause(ctx, 5*retryEvery) != nil {
			return nil, err
		}
	}
}

// claim returns the highest claim that is known here.
func (n *node) claim() Reign {
	v, _ := n.fleet.View()
	return v.Claim(n.applied.View().State.HighestClaim())
}

// moved is for a move that finds, when it is repeated, that the region is primary: a try before brought that about, and the node
// that did it ended before it could say so.
func (n *node) moved(ctx context.Context, before Reign, to string, already error) (*MoveReport, error) {
	n.freshView(ctx)
	now := n.claim()
	if now.Primary != to || now.Epoch <= before.Epoch {
		return nil, already
	}
	return &MoveReport{
		From: before.Primary, To: to, Epoch: now.Epoch, Position: now.First - 1, Lossy: now.Lossy,
		Warnings: []string{"the node that moved the primary ended before it could tell for how long writes paused"},
	}, nil
}

func (n *node) moveOnce(ctx context.Context, to string) (*MoveReport, error) {
	switch route := n.standing.Route(); {
	case route.Local:
		return n.switchOver(ctx, to)
	case route.Addr != "":
		return peer.Ask(ctx, n.client, route.Addr, askMove, moveRequest{To: to})
	default:
		return nil, fmt.Errorf("%w: no region is known to be primary", ErrNotReady)
	}
}

// switchOver runs on the leader of the primary region.
func (n *node) switchOver(ctx context.Context, to string) (*MoveReport, error) {
	if to == n.config.RegionID {
		return nil, fmt.Errorf("%w: %s", ErrAlreadyPrimary, to)
	}
	if !n.proposer.Open() {
		return nil, fmt.Errorf("%w: this node does not take writes", ErrNotReady)
	}
	if err := n.waitClose(ctx, to); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandoff, err)
	}
	defer n.governor.suspend()()
	began := n.config.Clock.Now()
	seal, err := n.seal(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandoff, err)
	}
	n.logger.Info("sealed for a switchover", "to", to, "epoch", seal.Epoch, "position", seal.Position, "handoff", seal.Handoff)
	reign, err := n.handOver(ctx, *seal)
	if err != nil {
		return nil, err
	}
	n.fleet.Refresh()
	return &MoveReport{
		From: n.config.RegionID, To: to, Epoch: reign.Epoch, Position: seal.Position, Pause: n.config.Clock.Now().Sub(began),
	}, nil
}

// waitClose returns once the target follows and is close behind, so that the pause is short.
func (n *node) waitClose(ctx context.Context, to string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, catchUpTimeout, fmt.Errorf("region %s did not catch up within %v", to, catchUpTimeout))
	defer cancel()
	for {
		n.fleet.Refresh()
		v, _ := n.fleet.View()
		own := n.applied.View().State.Cursor
		l := v.Regions[to].Leader()
		why := fmt.Errorf("region %s has no leader that answers: %w", to, errOr(v.Regions[to].Err))
		if l != nil {
			why = fmt.Errorf("region %s is %s at epoch %d, position %d; this region at %d, %d", to, l.Role, l.Cursor.Epoch, l.Cursor.Position, own.Epoch, own.Position)
			if l.Role == timeline.Secondary && l.Cursor.Epoch == own.Epoch && l.Cursor.Position+closeCommands >= own.Position {
				return nil
			}
		}
		if err := n.life.Pause(ctx, retryEvery); err != nil {
			return fmt.Errorf("%w: %w", err, why)
		}
	}
}

func errOr(err error) error {
	if err == nil {
		return errors.New("no answer yet")
	}
	return err
}

func (n *node) seal(ctx context.Context, to string) (*timeline.Seal, error) {
	s := &n.applied.View().State
	a, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpSeal, Epoch: s.Cursor.Epoch, To: to, Handoff: s.Handoffs + 1})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if a.Outcome != timeline.Applied {
		return nil, fmt.Errorf("seal: %w: %s", ErrRejected, a.Why)
	}
	v := n.applied.View()
	if v.State.Seal == nil {
		return nil, fmt.Errorf("seal: %w: lifted at once", ErrRejected)
	}
	return v.State.Seal, nil
}

// handOver asks the target to begin. If it does not in time, the handoff is aborted: but only the target can say so, because it
// may have begun.
func (n *node) handOver(ctx context.Context, seal timeline.Seal) (*Reign, error) {
	h := n.handoverOf(seal)
	reign, err := n.askTarget(ctx, askBegin, h, handoverTimeout)
	if err == nil {
		return reign, n.giveWay(ctx, *reign)
	}
	n.logger.Warn("switchover target did not begin; aborting", "to", seal.To, "err", err)
	begun, abortErr := n.abort(context.WithoutCancel(ctx), seal)
	switch {
	case abortErr != nil:
		return nil, fmt.Errorf("%w: %w; aborting: %w", ErrUnknownOutcome, err, abortErr)
	case begun != nil:
		return begun, n.giveWay(ctx, *begun)
	default:
		return nil, fmt.Errorf("%w: %w", ErrHandoff, err)
	}
}

func (n *node) handoverOf(seal timeline.Seal) handover {
	s := &n.applied.View().State
	return handover{From: n.config.RegionID, To: seal.To, Epoch: seal.Epoch, Handoff: seal.Handoff, End: s.Cursor}
}

// abort has the target refuse the handoff, and then lifts the seal; or it learns that the target has begun.
func (n *node) abort(ctx context.Context, seal timeline.Seal) (*Reign, error) {
	begun, err := n.askTarget(ctx, askRefuse, n.handoverOf(seal), n.config.callTimeout()*2)
	if err != nil || begun != nil {
		return begun, err
	}
	a, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpUnseal, Epoch: seal.Epoch, Handoff: seal.Handoff})
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	if a.Outcome == timeline.Refused {
		return nil, fmt.Errorf("unseal: %w: %s", ErrRejected, a.Why)
	}
	n.logger.Info("switchover aborted; the region takes writes again", "to", seal.To, "handoff", seal.Handoff)
	return nil, nil
}

// resolveHandoff ends a handoff that a former leader left open.
func (n *node) resolveHandoff(ctx context.Context, seal timeline.Seal) error {
	n.logger.Info("finds an open handoff", "to", seal.To, "epoch", seal.Epoch, "handoff", seal.Handoff)
	begun, err := n.abort(ctx, seal)
	if err != nil {
		return fmt.Errorf("end handoff %d to %s: %w", seal.Handoff, seal.To, err)
	}
	if begun != nil {
		return n.giveWay(ctx, *begun)
	}
	return nil
}

// giveWay makes this region a secondary of the reign that has begun elsewhere.
func (n *node) giveWay(ctx context.Context, r Reign) error {
	a, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpYield, Claim: &r})
	if err == nil && a.Outcome == timeline.Refused {
		err = fmt.Errorf("%w: %s", ErrRejected, a.Why)
	}
	if err != nil {
		n.logger.Warn("the new primary has begun; giving way follows", "err", err)
	}
	return nil // the reign decides, and the governor gives way as soon as it can
}

// askTarget puts a question of a switchover to the leader of the target, and tries its nodes until the time is up.
func (n *node) askTarget(ctx context.Context, q peer.Question[handover, *Reign], h handover, timeout time.Duration) (*Reign, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		var err error
		for _, addr := range n.fleet.Addresses(h.To) {
			var reign *Reign
			if reign, err = peer.Ask(ctx, n.client, addr, q, h); err == nil {
				return reign, nil
			}
			if !peer.Elsewhere(err) {
				return nil, err
			}
		}
		n.fleet.Refresh()
		if n.life.Pause(ctx, 5*retryEvery) != nil {
			return nil, fmt.Errorf("region %s: %w", h.To, err)
		}
	}
}

// beginHandedOver runs on the leader of the target: it applies everything up to the end of the old epoch, and begins the next. That one commit
// decides the switchover.
func (n *node) beginHandedOver(ctx context.Context, h handover) (*Reign, error) {
	if h.To != n.config.RegionID {
		return nil, fmt.Errorf("%w: handoff to %s asked of %s", ErrRejected, h.To, n.config.RegionID)
	}
	if _, leads := n.leadership.Term(); !leads {
		return nil, ErrNotLeader
	}
	if begun := n.begunBy(h); begun != nil {
		return begun, nil
	}
	if err := n.applied.Reach(ctx, h.End); err != nil {
		return nil, fmt.Errorf("%w: did not reach position %d: %w", ErrHandoff, h.End.Position, err)
	}
	defer n.governor.suspend()()
	if begun := n.begunBy(h); begun != nil {
		return begun, nil
	}
	if c := n.applied.View().State.Cursor; c != h.End {
		return nil, fmt.Errorf("%w: region %s is at epoch %d, position %d, chain %v; %s ends at %d, %d, %v",
			ErrHandoff, h.To, c.Epoch, c.Position, c.Chain, h.From, h.End.Epoch, h.End.Position, h.End.Chain)
	}
	return n.proposer.Begin(ctx, Reign{Epoch: h.Epoch + 1, Primary: n.config.RegionID, Handoff: h.Handoff})
}

// begunBy returns the reign that this handoff began here, nil if it did not.
func (n *node) begunBy(h handover) *Reign {
	for _, r := range n.applied.View().State.Reigns {
		if r.Epoch == h.Epoch+1 && r.Primary == h.To && r.Handoff == h.Handoff {
			return &r
		}
	}
	return nil
}

// refuseHandoff runs on the leader of the target: it commits the promise never to begin by this handoff, or returns the reign that
// has begun.
func (n *node) refuseHandoff(ctx context.Context, h handover) (*Reign, error) {
	if _, leads := n.leadership.Term(); !leads {
		return nil, ErrNotLeader
	}
	a, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpRefuse, Epoch: h.Epoch, Handoff: h.Handoff})
	if err != nil {
		return nil, err
	}
	if begun := n.begunBy(h); begun != nil {
		return begun, nil
	}
	if a.Outcome == timeline.Refused {
		return nil, fmt.Errorf("%w: %s", contract.ErrAlreadyBegun, a.Why)
	}
	return nil, nil
}

// Failover makes the region to primary without the old one, at its own last position. Any node takes the call. Without force
// it is ErrNeedsForce: what the old primary had and this region has not will be lost to the fleet, until the old region comes back
// and saves it.
func (n *node) Failover(ctx context.Context, to string, force bool) (*MoveReport, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	if _, ok := n.config.Regions[to]; !ok && to != n.config.RegionID {
		return nil, fmt.Errorf("%w: %q; known are %s", ErrUnknownRegion, to, n.regionNames())
	}
	return n.untilFound(ctx, to, func() (*MoveReport, error) { return n.failoverOnce(ctx, to, force) })
}

func (n *node) failoverOnce(ctx context.Context, to string, force bool) (*MoveReport, error) {
	addr := ""
	if to == n.config.RegionID {
		if _, leads := n.leadership.Term(); leads {
			return n.failOver(ctx, force)
		}
		addr = n.directory.LeaderAddr()
	} else if list := n.fleet.Addresses(to); len(list) > 0 {
		addr = list[0]
	}
	if addr == "" {
		return nil, fmt.Errorf("%w: region %s has no leader that is known here", ErrNotReady, to)
	}
	return peer.Ask(ctx, n.client, addr, askFailover, moveRequest{Force: force})
}

// failOver runs on the leader of the region that takes over.
func (n *node) failOver(ctx context.Context, force bool) (*MoveReport, error) {
	if _, leads := n.leadership.Term(); !leads {
		return nil, ErrNotLeader
	}
	s := &n.applied.View().State
	switch s.Role() {
	case timeline.Primary:
		if s.Seal == nil {
			return nil, fmt.Errorf("%w: %s", ErrAlreadyPrimary, n.config.RegionID)
		}
	case timeline.Diverged:
		return nil, fmt.Errorf("%w: region %s has to rejoin first", ErrDiverged, n.config.RegionID)
	}
	view := n.freshView(ctx)
	report := n.assess(view)
	if !force {
		return nil, fmt.Errorf("%w: region %s is known to lack %d commands of %s, and may lack more; use switchover while the primary answers, or force",
			ErrNeedsForce, n.config.RegionID, report.Behind, report.From)
	}
	defer n.governor.suspend()()
	reign, err := n.beginForced(ctx, view)
	if err != nil {
		return nil, err
	}
	report.Epoch, report.Position, report.Lossy = reign.Epoch, reign.First-1, true
	n.logger.Warn("took over by force", "epoch", reign.Epoch, "from", report.From, "position", report.Position, "behind", report.Behind)
	return report, nil
}

// freshView asks every region once more.
func (n *node) freshView(ctx context.Context) fleet.View {
	v, changed := n.fleet.View()
	n.fleet.Refresh()
	timer := n.config.Clock.NewTimer(n.config.callTimeout())
	defer timer.Stop()
	select {
	case <-changed:
		v, _ = n.fleet.View()
	case <-timer.C():
	case <-ctx.Done():
	}
	return v
}

// assess tells what is known of what a failover loses.
func (n *node) assess(v fleet.View) *MoveReport {
	s := &n.applied.View().State
	claim := v.Claim(s.HighestClaim())
	r := &MoveReport{From: claim.Primary, To: n.config.RegionID}
	heard := n.lastHeard(claim.Primary)
	if heard > s.Cursor.Position {
		r.Behind = uint64(heard - s.Cursor.Position)
	}
	for name, region := range v.Regions {
		f := region.Furthest()
		switch {
		case f == nil:
		case name == claim.Primary && region.Leader() != nil:
			r.Warnings = append(r.Warnings, fmt.Sprintf("region %s still answers: a switchover would lose nothing", name))
		case f.Cursor.Position > s.Cursor.Position:
			r.Warnings = append(r.Warnings, fmt.Sprintf("region %s has %d commands more", name, f.Cursor.Position-s.Cursor.Position))
		}
	}
	return r
}

// lastHeard returns the highest position that the region was heard to have.
func (n *node) lastHeard(region string) Position {
	v, _ := n.fleet.View()
	var p Position
	if f := v.Regions[region].Furthest(); f != nil {
		p = f.Cursor.Position
	}
	if f, _ := n.governor.current(); f != nil && f.source == region {
		p = max(p, f.sink.Status().Committed)
	}
	return p
}

// beginForced begins an epoch above every claim that is known. What the stream had proposed before it was stopped may still be
// applied in front of it; then the beginning is tried again behind that.
func (n *node) beginForced(ctx context.Context, v fleet.View) (*Reign, error) {
	var err error
	for range 10 {
		s := &n.applied.View().State
		epoch := v.Claim(s.HighestClaim()).Epoch + 1
		if s.Seal != nil {
			epoch++ // the target of the open handoff may have begun the next one
		}
		var r *Reign
		if r, err = n.proposer.Begin(ctx, Reign{Epoch: epoch, Primary: n.config.RegionID, Lossy: true}); err == nil {
			return r, nil
		}
		if !errors.Is(err, ErrRejected) {
			return nil, err
		}
	}
	return nil, err
}

// RegionFailover makes this node's region primary by force. On a node that does not lead its region it is ErrNotLeader; in the
// primary region it does nothing.
func (n *node) RegionFailover(ctx context.Context) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	_, err := n.failOver(ctx, true)
	if errors.Is(err, ErrAlreadyPrimary) {
		return nil
	}
	return err
}
