package votes

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Group is the region's log.
type Group interface {
	// ReadIndex returns a point at or after everything that the region agreed on before the call.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Controls takes controls to the region's log.
type Controls interface {
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
}

// Governor decides for the region, in order.
type Governor interface {
	// Vote casts the region's vote, behind everything that was streamed before.
	Vote(ctx context.Context, c *timeline.Control) (region.Outcome, error)
	// Stand has the region ask for votes in an epoch of at least e, and begin it if a majority votes for it, with what
	// that knows. operator says that somebody ordered it.
	Stand(ctx context.Context, e timeline.Epoch, operator bool) (*timeline.Reign, timeline.Mandate, error)
	// StandAt is Stand by order; where at is not nil, at that place, behind which the region shows nothing.
	StandAt(ctx context.Context, e timeline.Epoch, at *timeline.Cursor) (*timeline.Reign, timeline.Mandate, error)
	// ShowAll returns once the region shows everything that it has.
	ShowAll(ctx context.Context) error
	// Find returns the place of a point in what the region has and does not show; nothing behind it is shown until ctx
	// ends.
	Find(ctx context.Context, p contract.Point) (timeline.Cursor, error)
	// Unheard returns for how long this node, which leads a sealed primary, has asked the target to refuse the handoff,
	// in vain; zero: it does not.
	Unheard() time.Duration
	// GiveBack switches over to the region to, if this node leads the primary.
	GiveBack(ctx context.Context, to string) error
}

// store is a region's log as the place of its ballot.
type store struct{ config *Config }

// Term implements Store.
func (s store) Term() uint64 {
	term, _ := s.config.Leadership.Term()
	return term
}

// State implements Store.
func (s store) State() *timeline.State { return s.config.Applied.State() }

// Confirm implements Store. A later leader, if it is that one who confirms the point, has written to the log before
// it; when that is applied here, this node knows that it does not lead.
func (s store) Confirm(ctx context.Context) error {
	term := s.Term()
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	index, err := s.config.Group.ReadIndex(ctx)
	if err != nil {
		return err
	}
	if _, err := s.config.Applied.Wait(ctx, func(v *region.View) bool { return v.Index >= index }); err != nil {
		return err
	}
	if now := s.Term(); now != term || term == 0 {
		return contract.ErrNotLeader
	}
	return nil
}

// Record implements Store.
func (s store) Record(ctx context.Context, c *timeline.Control) (timeline.Outcome, string, error) {
	record := s.config.Controls.Control
	if c.Op == timeline.OpVote {
		record = s.config.Governor.Vote
	}
	o, err := record(ctx, c)
	return o.Outcome, o.Why, err
}

// Enrol implements Store.
func (s store) Enrol(ctx context.Context) (Enrolment, error) {
	if s.Term() == 0 {
		return Enrolment{}, contract.ErrNotLeader
	}
	if s.State().Ballot == nil {
		c := &timeline.Control{Op: timeline.OpEnrol, Identity: Identity()}
		if _, err := s.config.Controls.Control(ctx, c); err != nil {
			return Enrolment{}, fmt.Errorf("give region %s a ballot: %w", s.config.Region, err)
		}
	}
	return Enrolment{
		Voter: s.config.Region, Identity: s.State().Ballot.Identity, Priority: s.config.Priority,
	}, nil
}

// Recall implements Store: what a node of a region forgot is noticed when it starts.
func (s store) Recall([]fleet.Word) *timeline.Objection { return nil }

// Word implements Store.
func (s store) Word() (none fleet.Word, err error) { return none, nil }

// Strange implements acquainted.
func (s store) Strange(region string, formed map[uint64]string) error {
	if s.config.Strange == nil {
		return nil
	}
	return s.config.Strange(region, formed)
}

// Identity returns a fresh one for a ballot.
func Identity() (n timeline.Nonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// least bounds how often a thing is looked at.
const least = 20 * time.Millisecond
