package succession

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// move is a switchover that somebody asked of this leader.
type move struct {
	call    uint64
	to      string
	until   Instant           // by when the target has to be close, or closer than it ever was
	lacks   timeline.Position // that the target was heard to lack when it was closest
	half    timeline.Position // likewise, when that had become half of what it was before
	halved  Instant           // when that was
	doubt   Instant           // by when it has to be known to have a vote; zero: it has, as far as is known
	why     string            // it is not close
	back    error             // why it is taken back as soon as it is sealed
	sealing bool              // the seal was proposed
	began   Instant           // when that was
	sealed  *timeline.Seal
}

// attempt is how this leader ends an open handoff.
type attempt struct {
	seal     timeline.Seal
	since    Instant // when this leader saw it first
	until    Instant // the target is asked to begin before, and to refuse afterwards
	aborted  error   // why it is asked to refuse
	asks     Instant // since when
	answerBy Instant // when the caller of an aborted switchover is told that nothing is known
	refused  bool    // the target has promised
	question uint64  // that is open; zero: none
	refusing bool    // that question is for the refusal
	askAt    Instant // when to ask again
	silence  error   // what the last question came to
}

func (m *Machine) switchover(in Switchover) {
	s := m.view.State
	switch {
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	case in.To == m.region:
		m.fail(in.Call, fmt.Errorf("%w: %s", contract.ErrAlreadyPrimary, in.To))
	case m.move != nil || !s.Writable():
		m.fail(in.Call, fmt.Errorf("%w: this node does not take writes", contract.ErrNotReady))
	case heldUntil(s) != "":
		m.fail(in.Call, fmt.Errorf("%w: %s", contract.ErrRejected, heldUntil(s)))
	case m.view.Changing != "": // the target would have to get that roster or charter, while writes pause
		m.fail(in.Call, fmt.Errorf("%w: %s: switch over again once that has ended", contract.ErrHandoff,
			m.view.Changing))
	default:
		m.move = &move{call: in.Call, to: in.To, until: m.now + m.limits.CatchUp, lacks: s.Cursor.Position + 1,
			half: 2 * (s.Cursor.Position + 1), halved: m.now}
	}
}

// heldUntil says that the primary is to stay where it is, "" if it may move.
func heldUntil(s *timeline.State) string {
	c := s.Charter()
	if c == nil || c.Hold == nil || c.Epoch != s.Cursor.Epoch {
		return ""
	}
	return fmt.Sprintf("region %s is held until %s: mimir fleet hold --end first", s.Region,
		c.Hold.Until.UTC().Format(time.RFC3339))
}

// approach waits until the target follows and is close behind, so that the pause is short, and seals.
func (m *Machine) approach() {
	o, s := m.move, m.view.State
	if o.sealing {
		return // finishMove has the answer
	}
	isClose := o.look(m)
	if isClose && m.view.Charting { // the seal would be a vote for who lacks it
		isClose, o.why = false, "a charter is on its way to the log"
	}
	voteless := m.view.voteless(o.to)
	switch {
	case voteless == "" && !m.view.stamps():
		o.doubt = 0
	case o.doubt == 0: // it may have been heard before it got one, and one without a lease writes none
		o.doubt = m.now + m.limits.Ask
	}
	switch {
	case !m.view.State.Writable():
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: region %s is not primary any more", contract.ErrHandoff, m.region))
	case heldUntil(s) != "":
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: %s", contract.ErrRejected, heldUntil(s)))
	case m.now < o.doubt:
		m.lookAgain()
	case voteless != "":
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: %s", contract.ErrHandoff, voteless))
	case isClose:
		o.sealing, o.began = true, m.now
		m.decide(&timeline.Control{Op: timeline.OpSeal, Epoch: s.Cursor.Epoch, To: o.to, Handoff: s.Handoffs + 1},
			m.sealed)
	case m.now >= o.until:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: region %s did not catch up within %v: %s", contract.ErrHandoff, o.to,
			m.limits.CatchUp, o.why))
	default:
		m.wake(o.until)
		m.lookAgain()
	}
}

// look reports whether the target follows and is close behind. Whoever comes closer is waited for.
func (o *move) look(m *Machine) bool {
	own := m.view.State.Cursor
	l, ok := m.view.Fleet.Leaders[o.to]
	if !ok {
		o.why = fmt.Sprintf("region %s has no leader that answers: %s", o.to, m.view.Fleet.Silent[o.to])
		return false
	}
	lacks := own.Position - min(l.Cursor.Position, own.Position)
	follows := l.Role == timeline.Secondary && l.Cursor.Epoch == own.Epoch
	if !follows {
		o.why = fmt.Sprintf("region %s is %s at epoch %d, position %d; this region at %d, %d", o.to, l.Role,
			l.Cursor.Epoch, l.Cursor.Position, own.Epoch, own.Position)
		return false
	}
	unlisted := m.view.unlisted(o.to)
	o.why = cmp.Or(unlisted, fmt.Sprintf("region %s lacks %d commands of %d, and %d may be left", o.to, lacks,
		own.Position, m.limits.Close))
	if lacks < o.lacks {
		o.lacks, o.until = lacks, max(o.until, m.now+m.limits.CatchUp)
	}
	if lacks <= o.half/2 {
		o.half, o.halved = lacks, m.now
	}
	// What is left when it is sealed is what writes pause for: so it may come closer first, as long as it does.
	return unlisted == "" && lacks <= m.limits.Close && (lacks <= m.limits.Near || m.now >= o.halved+m.limits.Settle)
}

// sealed is told what became of the seal that this leader proposed.
func (m *Machine) sealed(in Decided) {
	o, s := m.move, m.view.State
	if o == nil {
		return // given up: the seal, if there is one, is ended like a former leader's
	}
	switch {
	case in.Err != nil && notProposed(in.Err):
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: seal: %v", contract.ErrHandoff, in.Err))
	case in.Err != nil:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: seal for %s: %v", contract.ErrUnknownOutcome, o.to, in.Err))
	case in.Outcome != timeline.Applied:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: seal: %s", contract.ErrHandoff, in.Why))
	case s.Seal == nil || s.Seal.To != o.to:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: the seal for %s was lifted at once", contract.ErrUnknownOutcome, o.to))
	default:
		seal := *s.Seal
		o.sealed = &seal
		m.attempt = &attempt{seal: seal, since: m.now, until: m.now + m.limits.Handover}
		if o.back != nil {
			m.abort(o.back)
		}
	}
}

// handOver asks the target of the open seal to begin. If it does not in time, the handoff is aborted; but only the
// target can say so, because it may have begun (P1, P5).
func (m *Machine) handOver(seal timeline.Seal) {
	a := m.attempt
	if a == nil || a.seal != seal {
		a = &attempt{seal: seal, since: m.now}
		m.attempt = a
		m.abort(errors.New("a former leader left the handoff open"))
	}
	if a.aborted == nil && m.now >= a.until {
		m.abort(fmt.Errorf("region %s did not begin within %v: %w", seal.To, m.limits.Handover, orNoAnswer(a.silence)))
	}
	switch {
	case a.refused:
		if !m.rests() {
			m.decide(&timeline.Control{Op: timeline.OpUnseal, Epoch: seal.Epoch, Handoff: seal.Handoff}, m.orRest)
		}
		return
	case a.question != 0 && a.refusing == (a.aborted != nil):
	case m.now < a.askAt:
		m.wake(a.askAt)
	default:
		m.ask(a)
	}
	if a.aborted == nil {
		m.wake(a.until)
	}
}

// ask puts the question that is due to the target.
func (m *Machine) ask(a *attempt) {
	h := Handover{From: m.region, To: a.seal.To, Epoch: a.seal.Epoch, Handoff: a.seal.Handoff,
		End: m.view.State.Cursor}
	if r := m.view.State.Roster; r != nil && r.Ranked {
		h.Roster = r.Mark()
	}
	if c := m.view.State.Charter(); c != nil {
		h.Charter = c.Mark()
	}
	e := Effect{Do: AskBegin, Handover: h, Until: a.until}
	if a.refusing = a.aborted != nil; a.refusing {
		e.Do, e.Until = AskRefuse, m.now+m.limits.Ask
	}
	a.question = m.do(e)
}

// abort ends the handoff by the target's refusal, unless it turns out to have begun; or, where others are a majority
// without the target, by a later epoch for which they vote.
func (m *Machine) abort(why error) {
	a := m.attempt
	if a.aborted == nil {
		a.aborted, a.asks, a.askAt = why, m.now, m.now
		a.answerBy = m.now + m.limits.Abort
		if c := m.view.State.Charter(); spares(m.view.State, a.seal.To) { // so long it waits before it goes on
			a.answerBy += c.Lease
		}
	}
}

// answered takes the target's word, if it is about the open handoff, whichever question it answers.
func (m *Machine) answered(in Answered) {
	a, seal := m.attempt, m.view.State.Seal
	if a == nil || a.seal.Handoff != in.Handover.Handoff || !in.Handover.of(seal) {
		return
	}
	if a.question == in.ID {
		a.question = 0
	}
	switch {
	case in.Begun != nil && in.Handover.begun(*in.Begun):
		if timeline.Supersedes(*in.Begun, m.heard) {
			m.heard = *in.Begun
		}
	case in.Refused:
		a.refused = true
		if a.aborted == nil {
			m.abort(fmt.Errorf("region %s refused", seal.To))
		}
	default:
		a.silence = in.Err
		if !in.Again && a.aborted == nil {
			m.abort(orNoAnswer(in.Err))
			return
		}
		a.askAt = m.now + m.limits.Again
		m.do(Effect{Do: Refresh})
	}
}

func orNoAnswer(err error) error {
	if err == nil {
		return errors.New("no answer yet")
	}
	return err
}

// finishMove answers a switchover whose end is known, or for which nobody waits any longer. The error is of that one
// kind: what the target answered on the way is told as text, so that it is not taken for the end.
func (m *Machine) finishMove() {
	o, a, s := m.move, m.attempt, m.view.State
	if o == nil || o.sealed == nil {
		return
	}
	if s.Seal != nil && *s.Seal == *o.sealed {
		if a != nil && a.aborted != nil {
			if m.now < a.answerBy {
				m.wake(a.answerBy)
				return
			}
			m.leaveMove(fmt.Errorf("%w: %v; aborting: region %s: %v", contract.ErrUnknownOutcome, a.aborted, o.to,
				orNoAnswer(a.silence)))
		}
		return
	}
	m.move = nil
	claim := m.claim()
	switch {
	case o.begun(claim):
		m.answer(o.call, o.done(m.now, claim))
	case a != nil && a.seal == *o.sealed && a.refused && s.Writable():
		m.fail(o.call, fmt.Errorf("%w: %v", contract.ErrHandoff, a.aborted))
	case a != nil && a.seal == *o.sealed && a.aborted != nil && claim.Primary == m.region && !claim.Lossy:
		m.fail(o.call, fmt.Errorf("%w: %v; a majority voted for region %s to go on, in epoch %d", contract.ErrHandoff,
			a.aborted, m.region, claim.Epoch))
	default:
		m.fail(o.call, fmt.Errorf("%w: epoch %d of %s has begun meanwhile", contract.ErrUnknownOutcome, claim.Epoch,
			claim.Primary))
	}
}

// begun reports whether r is the reign that the switchover brings about.
func (o *move) begun(r timeline.Reign) bool {
	return o.sealed != nil && Handover{To: o.to, Epoch: o.sealed.Epoch, Handoff: o.sealed.Handoff}.begun(r)
}

func (o *move) done(now Instant, r timeline.Reign) Reply {
	return Reply{Reign: &r, End: o.sealed.Position, Pause: time.Duration(now - o.began)}
}

// leaveMove answers a switchover whose end the state does not tell here: with the reign, if it is known to have begun.
func (m *Machine) leaveMove(unknown error) {
	o := m.move
	m.move = nil
	switch claim := m.claim(); {
	case o == nil:
	case o.begun(claim):
		m.answer(o.call, o.done(m.now, claim))
	default:
		m.fail(o.call, errIf(o.sealing, unknown))
	}
}

func (m *Machine) giveUpMove(why error) {
	o := m.move
	switch {
	case o.sealed != nil:
		m.abort(why)
	case o.sealing:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: seal for %s: %w", contract.ErrUnknownOutcome, o.to, why))
	default:
		m.move = nil
		m.fail(o.call, fmt.Errorf("%w: %w: %s", contract.ErrHandoff, why, o.why))
	}
}

// Handing is an open handoff, for people.
type Handing struct {
	Seal    timeline.Seal
	For     time.Duration // how long this leader has seen it open
	Silence string        // what the last question to the target came to, "" while there is none
	// Unheard is for how long the target was asked to refuse, in vain; zero: it is not, or it has refused.
	Unheard time.Duration
}

// Handing returns the handoff that this leader tries to end, nil if there is none.
func (m *Machine) Handing(now Instant) *Handing {
	a := m.attempt
	if a == nil || m.view.State == nil || m.view.State.Seal == nil || *m.view.State.Seal != a.seal {
		return nil
	}
	h := &Handing{Seal: a.seal, For: now - a.since}
	if a.silence != nil {
		h.Silence = a.silence.Error()
	}
	if a.aborted != nil && !a.refused {
		h.Unheard = now - a.asks
	}
	return h
}

// spares reports whether a region in the state s may be voted for without the region to, for which it is sealed.
func spares(s *timeline.State, to string) bool {
	c := s.Charter()
	return c != nil && c.Voter(s.Region) != nil && c.Spares(to)
}
