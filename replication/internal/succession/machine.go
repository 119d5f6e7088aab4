package succession

import (
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Machine is what one node has to do for its region while it leads it. It is not safe for concurrent use.
type Machine struct {
	region  string
	founder bool

	pause      // the step that it is taking
	view  View // at it

	deciding *decision
	heard    timeline.Reign // the highest claim that an answer told of
	attempt  *attempt       // to end the open handoff
	move     *move
	takeback takeback
	founding founding
	takings  []*taking
	takeover *takeover
	voting   voting
	back     rewinding

	refusals map[uint64]refusal // on their way, by effect
	running  *activity
	copied   *copied
	needs    string // the source whose log does not reach back far enough
}

// decision is what is on its way through the region's log.
type decision struct {
	id   uint64
	done func(Decided)
}

// New returns the machine of a node of region. founder says that the region begins the first epoch of a new fleet
// by itself.
func New(region string, founder bool, l Limits) *Machine {
	return &Machine{region: region, founder: founder, pause: pause{limits: l}, refusals: map[uint64]refusal{}}
}

// Step takes one step at the time now, seeing v, after in happened. It returns what is to be done.
func (m *Machine) Step(now Instant, v View, in Input) []Effect {
	m.now, m.view, m.out = now, v, nil
	if v.Term != m.term {
		m.begin(v.Term)
	}
	m.take(in)
	m.due = now + m.limits.Poll
	if m.term != 0 {
		m.consider()
	}
	return m.out
}

// Due returns when the next step has to be taken, if nothing happens before.
func (m *Machine) Due() Instant { return m.due }

// begin forgets what belongs to another term. What of it matters is in the log (P4).
func (m *Machine) begin(term uint64) {
	unknown := fmt.Errorf("%w: another node may lead the region now", contract.ErrUnknownOutcome)
	proposed := m.deciding != nil
	m.term, m.deciding, m.attempt, m.copied, m.needs, m.pausedTo, m.vain = term, nil, nil, nil, "", 0, 0
	m.back = rewinding{}
	if m.running != nil {
		m.running.late = false // nothing of it is taken any more
	}
	m.leaveMove(unknown)
	m.takeback.drop(m, unknown)
	m.founding.drop(m, errIf(proposed, unknown))
	m.founding.up = false
	if o := m.takeover; o != nil {
		m.takeover = nil
		m.fail(o.call, errIf(proposed, unknown))
	}
	for _, o := range m.takings {
		m.fail(o.call, errIf(o.proposed, unknown))
	}
	m.takings = nil
	m.voting.drop(m, unknown)
	m.stop()
}

func errIf(proposed bool, unknown error) error {
	if proposed {
		return unknown
	}
	return contract.ErrNotLeader
}

func (m *Machine) take(in Input) {
	switch in := in.(type) {
	case Switchover:
		m.switchover(in)
	case Abort:
		m.takeback.asked(m, in)
	case Found:
		m.founding.order(m, in)
	case Takeover:
		m.takeOver(in)
	case VoteAsked:
		m.voting.asked(m, in)
	case Elected:
		m.voting.elected(in)
	case BeginAsked:
		m.beginAsked(in)
	case RefuseAsked:
		m.refuseAsked(in)
	case GaveUp:
		m.gaveUp(in)
	case Answered:
		m.answered(in)
	case Ended:
		m.ended(in)
	case Decided:
		m.decided(in)
	}
}

func (m *Machine) decided(in Decided) {
	if r, ok := m.refusals[in.ID]; ok {
		delete(m.refusals, in.ID)
		m.refused(r, in)
		return
	}
	if d := m.deciding; d != nil && d.id == in.ID {
		m.deciding = nil
		d.done(in)
	}
}

// consider takes the one step that is due. What it finds in the state is enough to decide it.
func (m *Machine) consider() {
	s := m.view.State
	m.finishMove()
	m.takeback.finish(m)
	m.founding.finish(m)
	m.finishTakings()
	if m.deciding == nil {
		m.voting.finish()
	}
	if m.deciding != nil {
		return
	}
	claim := m.claim()
	m.under(claim)
	if m.voting.cast(m) || m.voting.election != nil {
		return
	}
	if m.founding.due(m, claim) {
		if !m.rests() {
			m.decideReign(timeline.Reign{Epoch: 1, Primary: m.region}, m.orRest)
		}
		return
	}
	if m.yields(claim) || m.outlived(claim) {
		return
	}
	switch {
	case m.takeover != nil:
		m.force(claim)
	case s.Seal != nil:
		m.handOver(*s.Seal)
	case m.move != nil:
		m.approach()
	case m.ripe() != nil:
		m.takeHandover(m.ripe())
	default:
		m.follow(claim)
	}
	if claim.Epoch == 0 {
		m.lookAgain()
	}
}

// claim returns the highest claim that is known here.
func (m *Machine) claim() timeline.Reign {
	claim := m.view.State.HighestClaim()
	for _, c := range []timeline.Reign{m.view.Fleet.Claim, m.heard} {
		if timeline.Supersedes(c, claim) {
			claim = c
		}
	}
	return claim
}

// yields gives way to a claim of another region. Where the rules cannot tell it from the one that is followed here,
// the stream finds the fork.
func (m *Machine) yields(claim timeline.Reign) bool {
	s := m.view.State
	if claim.Primary == m.region || !timeline.Supersedes(claim, s.HighestClaim()) {
		return false
	}
	c := &timeline.Control{Op: timeline.OpYield, Claim: &claim}
	if outcome, _ := timeline.Would(s, c); outcome != timeline.Applied {
		return false
	}
	if !m.rests() {
		m.decide(c, m.orRest)
	}
	return true
}

// decide proposes c, unless the rules would make nothing of it: then it is told so at once, and the log does not grow.
func (m *Machine) decide(c *timeline.Control, done func(Decided)) {
	if outcome, why := timeline.Would(m.view.State, c); outcome != timeline.Applied {
		done(Decided{Outcome: timeline.Refused, Why: why})
		return
	}
	m.deciding = &decision{m.do(Effect{Do: Propose, Control: c}), done}
}

// decideReign proposes to begin r where the region is, as decide does.
func (m *Machine) decideReign(r timeline.Reign, done func(Decided)) {
	if outcome, why := timeline.WouldBegin(m.view.State, r); outcome != timeline.Applied {
		done(Decided{Outcome: timeline.Refused, Why: why})
		return
	}
	m.deciding = &decision{m.do(Effect{Do: Begin, Reign: r}), done}
}

// undecided turns an Err of Decided into what a caller is told: nothing was done, or nobody knows.
func undecided(err error) error {
	if notProposed(err) || errors.Is(err, contract.ErrUnknownOutcome) {
		return err
	}
	return fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, err)
}

func notProposed(err error) bool {
	known := !errors.Is(err, contract.ErrUnknownOutcome)
	return known && (errors.Is(err, contract.ErrNotLeader) || errors.Is(err, contract.ErrNotReady))
}

// gaveUp ends what the caller of a call waits for, as far as it can be ended.
func (m *Machine) gaveUp(in GaveUp) {
	if o := m.move; o != nil && o.call == in.Call {
		m.giveUpMove(in.Why)
	}
	m.takeback.gaveUp(m, in)
	m.founding.gaveUp(m, in)
	if o := m.takeover; o != nil && o.call == in.Call {
		m.takeover = nil
		m.fail(in.Call, fmt.Errorf("%w: %w", errIfUnknown(m.deciding != nil || m.voting.election != nil), in.Why))
	}
	for id, r := range m.refusals {
		if r.call == in.Call {
			delete(m.refusals, id)
			m.fail(in.Call, fmt.Errorf("%w: refuse handoff %d: %w", contract.ErrUnknownOutcome, r.handover.Handoff,
				in.Why))
		}
	}
	for i, o := range m.takings {
		if o.call == in.Call {
			m.takings = append(m.takings[:i:i], m.takings[i+1:]...)
			m.fail(in.Call, o.givenUp(m.view.State, in.Why))
			return
		}
	}
}

func errIfUnknown(proposed bool) error {
	if proposed {
		return contract.ErrUnknownOutcome
	}
	return contract.ErrNotReady
}
