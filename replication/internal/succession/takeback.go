package succession

import (
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// errOrdered is why a switchover is taken back that somebody ordered to be.
var errOrdered = errors.New("it was ordered to be taken back")

// takeback is an order to end the switchover under way without moving the primary, whoever asked for that, if it can
// still be: the calls that wait for its end.
type takeback struct {
	calls []uint64
	epoch timeline.Epoch // that is sealed
}

func (t *takeback) asked(m *Machine, in Abort) {
	o, s := m.move, m.view.State
	switch {
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
		return
	case o == nil && s.Seal == nil:
		m.fail(in.Call, fmt.Errorf("%w: region %s has no switchover under way", contract.ErrRejected, m.region))
		return
	case o == nil: // a former leader's, or one that its caller gave up: it is being ended
	case o.sealing && o.sealed == nil:
		o.back = errOrdered // as soon as it is known what became of the seal
	default:
		m.giveUpMove(errOrdered)
	}
	t.calls = append(t.calls, in.Call)
}

// finish answers those who wait, once it is known how the handoff ended, or as long as its target does not say.
func (t *takeback) finish(m *Machine) {
	s, a := m.view.State, m.attempt
	if s.Seal != nil {
		t.epoch = s.Cursor.Epoch
	}
	switch last := timeline.Latest(s.Reigns); {
	case len(t.calls) == 0, s.Seal == nil && m.move != nil:
	case s.Seal != nil && (a == nil || a.seal != *s.Seal || a.aborted == nil):
	case s.Seal != nil && m.now < a.answerBy:
		m.wake(a.answerBy)
	case s.Seal != nil:
		asked := "it is asked until it answers"
		if spares(s, s.Seal.To) {
			asked += fmt.Sprintf(", and the voters until they let %s go on without it", m.region)
		}
		t.drop(m, fmt.Errorf("%w: region %s does not say whether it has begun, so nobody takes writes: %v; %s",
			contract.ErrUnknownOutcome, s.Seal.To, orNoAnswer(a.silence), asked))
	case s.Writable() && last.Lossy && t.epoch != 0 && last.Epoch > t.epoch:
		t.drop(m, fmt.Errorf("%w: region %s goes on in epoch %d, behind one of the target that may have taken writes; "+
			"what it took is a tail", contract.ErrUnknownOutcome, m.region, last.Epoch))
	case s.Writable():
		for _, call := range t.calls {
			m.answer(call, Reply{End: s.Cursor.Position})
		}
		t.calls = nil
	default:
		claim := m.claim()
		t.drop(m, fmt.Errorf("%w: region %s has begun epoch %d", contract.ErrAlreadyBegun, claim.Primary, claim.Epoch))
	}
}

func (t *takeback) drop(m *Machine, why error) {
	for _, call := range t.calls {
		m.fail(call, why)
	}
	t.calls = nil
}

func (t *takeback) gaveUp(m *Machine, in GaveUp) {
	for i, call := range t.calls {
		if call == in.Call {
			t.calls = append(t.calls[:i:i], t.calls[i+1:]...)
			m.fail(call, fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, in.Why))
			return
		}
	}
}

// Moving says how far the switchover under way is, and to where, for people; "" if there is none.
func Moving(m *Machine, now Instant) (to, text string) {
	o, s := m.move, m.view.State
	switch {
	case m.term == 0 || s == nil:
		return "", ""
	case s.Seal != nil:
		return s.Seal.To, m.attempt.describe(now, s)
	case o == nil:
		return "", ""
	case o.sealing:
		return o.to, fmt.Sprintf("seals for a switchover to %s", o.to)
	default:
		return o.to, fmt.Sprintf("switches over to %s: %s; writes go on", o.to, o.why)
	}
}

// Sealing reports whether the seal of a switchover is on its way to the log, or there.
func Sealing(m *Machine) bool {
	s := m.view.State
	return m.term != 0 && s != nil && (s.Seal != nil || m.move != nil && m.move.sealing)
}

// describe says how the handoff that seal began comes to its end.
func (a *attempt) describe(now Instant, s *timeline.State) string {
	seal, end := *s.Seal, s.Cursor.Position
	if a == nil || a.seal != seal {
		return fmt.Sprintf("sealed for a switchover to %s", seal.To)
	}
	text := fmt.Sprintf("switches over to %s: writes pause for %.1f s, until %s has position %d and has begun", seal.To,
		(now - a.since).Seconds(), seal.To, end)
	if a.aborted != nil {
		text = fmt.Sprintf("takes the switchover to %s back, as soon as %s says that it has not begun: %v", seal.To,
			seal.To, a.aborted)
		if spares(s, seal.To) {
			text = fmt.Sprintf("takes the switchover to %s back, as soon as %s says that it has not begun, or a "+
				"majority of the voters lets %s go on without it: %v", seal.To, seal.To, s.Region, a.aborted)
		}
	}
	if a.silence != nil {
		text += fmt.Sprintf("; %s: %v", seal.To, a.silence)
	}
	return text
}
