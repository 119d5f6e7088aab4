package succession

import (
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// taking is a handoff by which this region is asked to begin.
type taking struct {
	call     uint64
	handover Handover
	proposed bool
}

func (m *Machine) beginAsked(in BeginAsked) {
	switch {
	case in.Handover.To != m.region:
		m.fail(in.Call, fmt.Errorf("%w: handoff to %s asked of %s", contract.ErrRejected, in.Handover.To, m.region))
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	case in.Handover.Charter.Number != 0 && m.view.State.Charter() == nil:
		m.fail(in.Call, fmt.Errorf("%w: region %s lost its ballot, and has no vote", contract.ErrHandoff, m.region))
	case in.Handover.outdated(m.view.State):
		has := m.view.State.Charter().Mark()
		m.fail(in.Call, fmt.Errorf("%w: %s", contract.ErrHandoff, outdated(m.region, has, in.Handover.Charter)))
	default:
		m.takings = append(m.takings, &taking{call: in.Call, handover: in.Handover})
	}
}

// outdated reports whether h names a charter that a region in the state s has not got, unless it has begun by it.
func (h Handover) outdated(s *timeline.State) bool {
	return h.Charter.Number != 0 && begunBy(h, s) == nil && s.Charter().Mark().Before(h.Charter)
}

// finishTakings answers those whose end the state tells.
func (m *Machine) finishTakings() {
	s := m.view.State
	var open []*taking
	for _, o := range m.takings {
		h := o.handover
		if begun := begunBy(h, s); begun != nil {
			m.answer(o.call, Reply{Reign: begun})
		} else if !o.proposed && o.reached(s) && s.Cursor != h.End {
			m.fail(o.call, fmt.Errorf("%w: region %s is at epoch %d, position %d, chain %v; %s ends at %d, %d, %v",
				contract.ErrHandoff, h.To, s.Cursor.Epoch, s.Cursor.Position, s.Cursor.Chain,
				h.From, h.End.Epoch, h.End.Position, h.End.Chain))
		} else {
			open = append(open, o)
		}
	}
	m.takings = open
}

func (o *taking) reached(s *timeline.State) bool {
	return s.Cursor.Position >= o.handover.End.Position && s.Cursor.Epoch >= o.handover.End.Epoch
}

// unlisted reports whether a region in the state s lacks the roster that was in force at the end.
func (o *taking) unlisted(s *timeline.State) bool { return s.Roster.Mark().Before(o.handover.Roster) }

// ripe returns a handoff whose end this region has reached, with the roster that was in force there, nil if there is
// none.
func (m *Machine) ripe() *taking {
	for _, o := range m.takings {
		if !o.proposed && o.reached(m.view.State) && !o.unlisted(m.view.State) {
			return o
		}
	}
	return nil
}

// Awaits reports whether a handoff waits for the region to reach its end. Writes pause until then, so the next step is
// due as soon as more is applied.
func (m *Machine) Awaits() bool {
	return slices.ContainsFunc(m.takings, func(o *taking) bool { return !o.proposed })
}

// takeHandover begins the next epoch at the end of the old one. That one commit decides the switchover (P2).
func (m *Machine) takeHandover(o *taking) {
	if m.stop() {
		return
	}
	o.proposed = true
	h := o.handover
	failed := func(err error) { m.dismiss(o, fmt.Errorf("%w: %w", contract.ErrHandoff, err)) }
	r := timeline.Reign{Epoch: h.Epoch + 1, Primary: m.region, Handoff: h.Handoff}
	m.voting.begin(m, &r, Effect{}, nil, failed, func(in Decided) {
		if in.Err == nil && in.Outcome == timeline.Applied {
			return // the state tells
		}
		err := fmt.Errorf("begin epoch %d: %w: %s", h.Epoch+1, contract.ErrRejected, in.Why)
		if in.Err != nil {
			err = fmt.Errorf("begin epoch %d: %w", h.Epoch+1, undecided(in.Err))
		}
		m.dismiss(o, err)
	})
}

// dismiss answers a taking that has failed.
func (m *Machine) dismiss(failed *taking, err error) {
	for i, o := range m.takings {
		if o == failed {
			m.takings = append(m.takings[:i:i], m.takings[i+1:]...)
			m.fail(o.call, err)
			return
		}
	}
}

// givenUp is the answer of a region in the state s to a caller who waits no longer.
func (o *taking) givenUp(s *timeline.State, why error) error {
	h := o.handover
	switch {
	case o.proposed:
		return fmt.Errorf("%w: begin epoch %d: %w", contract.ErrUnknownOutcome, h.Epoch+1, why)
	case !o.reached(s):
		return fmt.Errorf("%w: region %s is at position %d, and did not reach position %d: %w", contract.ErrHandoff,
			h.To, s.Cursor.Position, h.End.Position, why)
	case o.unlisted(s):
		return fmt.Errorf("%w: region %s reached position %d, and has not got roster %d of epoch %d of %s: %w",
			contract.ErrHandoff, h.To, h.End.Position, h.Roster.Number, h.Roster.Epoch, h.From, why)
	default:
		return fmt.Errorf("%w: region %s reached position %d, and did not come to begin: %w", contract.ErrHandoff,
			h.To, h.End.Position, why)
	}
}

// refusal is a promise on its way.
type refusal struct {
	call     uint64
	handover Handover
}

// refuseAsked promises never to begin by this handoff: through the log, so that no later leader begins either. What
// the log says already is told from there.
func (m *Machine) refuseAsked(in RefuseAsked) {
	h := in.Handover
	switch {
	case h.To != m.region:
		m.fail(in.Call, fmt.Errorf("%w: handoff to %s asked of %s", contract.ErrRejected, h.To, m.region))
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	default:
		c := &timeline.Control{Op: timeline.OpRefuse, Epoch: h.Epoch, Handoff: h.Handoff}
		if outcome, why := timeline.Would(m.view.State, c); outcome != timeline.Applied {
			m.refused(refusal{in.Call, h}, Decided{Outcome: outcome, Why: why})
			return
		}
		id := m.do(Effect{Do: Propose, Control: c})
		m.refusals[id] = refusal{in.Call, h}
	}
}

func (m *Machine) refused(r refusal, in Decided) {
	begun := begunBy(r.handover, m.view.State)
	switch {
	case in.Err != nil:
		m.fail(r.call, undecided(in.Err))
	case begun != nil:
		m.answer(r.call, Reply{Reign: begun})
	case in.Outcome == timeline.Refused:
		m.fail(r.call, fmt.Errorf("%w: %s", contract.ErrAlreadyBegun, in.Why))
	default:
		m.answer(r.call, Reply{Refused: true})
	}
}
