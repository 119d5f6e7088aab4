package succession

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// forceTries is how often a forced beginning is tried behind what was still applied in front of it.
const forceTries = 10

// takeover is a forced failover to this region.
type takeover struct {
	call   uint64
	fenced bool
	tries  int
	epoch  timeline.Epoch // the least one to begin
	// again says that the primary begins anew, to be supported by all voters. Nothing is lost, unless a later epoch
	// took writes meanwhile, or somebody ordered it who does not know of one.
	again    bool
	operator bool
	unsealed bool // it is not meant for a region that is sealed
	accept   uint64
	mandate  *timeline.Mandate
	seal     *timeline.Seal // that was open when it was ordered
	// at is where the region is to begin, nil if that is where it is.
	at *timeline.Cursor
	// diverged is the reign for whose history the region had given up its own when it was ordered; zero: it had not.
	diverged timeline.Reign
}

// keeping returns what takes back that the region has diverged.
func keeping(s *timeline.State) *timeline.Control {
	return &timeline.Control{Op: timeline.OpKeep, At: s.Cursor.Position, Epoch: s.Cursor.Epoch}
}

// May returns why a region in this state cannot take over by force, nil if it can. One that has diverged can, if nobody
// that answers has the history for which it gave up its own; and so can a primary that is sealed or fenced.
func May(s *timeline.State, fenced bool) error {
	switch s.Role() {
	case timeline.Primary:
		if s.Seal == nil && !fenced {
			return fmt.Errorf("%w: %s", contract.ErrAlreadyPrimary, s.Region)
		}
	case timeline.Diverged:
		if outcome, why := timeline.Would(s, keeping(s)); outcome != timeline.Applied {
			return fmt.Errorf("%w: region %s has to rejoin first: %s", contract.ErrDiverged, s.Region, why)
		}
	}
	return nil
}

func (m *Machine) takeOver(in Takeover) {
	switch {
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	case m.takeover != nil:
		m.fail(in.Call, fmt.Errorf("%w: region %s is taking over just now", contract.ErrNotReady, m.region))
	default:
		s := m.view.State
		sealed := s.Seal != nil && in.Anew && !in.Operator
		again := in.Anew && s.Charter() != nil && s.Role() == timeline.Primary && (s.Seal == nil || sealed)
		if h := m.Handing(m.now); sealed && (h == nil || h.Unheard == 0) {
			m.fail(in.Call, fmt.Errorf("%w: region %s hands over to %s", contract.ErrNotReady, m.region, s.Seal.To))
			return
		}
		if err := May(s, in.Fenced); err != nil && !again {
			m.fail(in.Call, err)
			return
		}
		m.takeover = &takeover{
			call: in.Call, fenced: in.Fenced, seal: s.Seal, epoch: in.Epoch, again: again, operator: in.Operator,
			accept: in.Accept, at: in.At, unsealed: in.Unsealed,
		}
		if d := s.Diverged; d != nil {
			m.takeover.diverged = d.Claim
		}
	}
}

// UnderWay says of a region that is sealed that it is forced to itself by an operator's order alone.
func UnderWay(s *timeline.State) error {
	return fmt.Errorf("%w: a switchover to %s is under way, and %s may have begun epoch %d: abort the switchover, or "+
		"force a failover to %s by its name, which may lose what %s has acknowledged", contract.ErrNotReady, s.Seal.To,
		s.Seal.To, s.Seal.Epoch+1, s.Region, s.Seal.To)
}

// maySee returns why the fleet's picture forbids what the region's own state allows, nil if it does not.
func (o *takeover) maySee(v View, claim timeline.Reign) error {
	if seal := o.seal; seal != nil && claim.Epoch > seal.Epoch && claim.Primary != v.State.Region {
		return fmt.Errorf("%w: epoch %d of %s has begun meanwhile, and region %s gives way to it; if %s is lost, fail "+
			"over again", contract.ErrAlreadyBegun, claim.Epoch, claim.Primary, v.State.Region, claim.Primary)
	}
	if o.unsealed && v.State.Seal != nil {
		return UnderWay(v.State)
	}
	if holder := holds(v, o.diverged); holder != "" {
		return fmt.Errorf("%w: region %s gave way to epoch %d of %s, and region %s has that up to position %d: fail "+
			"over to %s; region %s has to rejoin first", contract.ErrDiverged, v.State.Region, o.diverged.Epoch,
			o.diverged.Primary, holder, v.Fleet.Leaders[holder].Cursor.Position, holder, v.State.Region)
	}
	if len(v.State.Reigns) > 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.Fleet.Leaders)) {
		if l := v.Fleet.Leaders[name]; len(l.Reigns) > 0 {
			return fmt.Errorf("%w: region %s holds nothing of the history that region %s holds up to position %d of "+
				"epoch %d; fail over to %s", contract.ErrRejected, v.State.Region, name, l.Cursor.Position,
				l.Cursor.Epoch, name)
		}
	}
	return nil
}

// force begins an epoch above everything known (P3). What a stream had proposed before it was stopped is applied in
// front of it.
func (m *Machine) force(claim timeline.Reign) {
	o := m.takeover
	err := May(m.view.State, o.fenced)
	if o.again && m.view.State.Role() == timeline.Primary {
		err = nil
	}
	if err == nil {
		err = o.maySee(m.view, claim)
	}
	if c := m.copied; err == nil && c != nil && m.view.State.Diverged != nil {
		err = fmt.Errorf("%w: a copy of region %s up to position %d is here, which region %s takes first; then fail "+
			"over again", contract.ErrNotReady, c.source, c.Origin.Cursor.Position, m.region)
	}
	if err != nil {
		m.takeover = nil
		m.fail(o.call, err)
		return
	}
	if m.stop() {
		return
	}
	if m.view.State.Diverged != nil {
		o.keep(m)
		return
	}
	r := timeline.Reign{
		Epoch: max(above(claim, m.view), o.epoch), Primary: m.region, Lossy: !o.again || o.operator,
	}
	if o.at != nil && *o.at != m.view.State.Cursor {
		o.cut(m, r)
		return
	}
	o.tries++
	voted := func(k timeline.Mandate) { r.Lossy, o.mandate = r.Lossy || k.Used, &k }
	failed := func(err error) {
		if m.takeover == o {
			m.takeover = nil
			m.fail(o.call, err)
		}
	}
	ask := Effect{Operator: o.operator, Accept: o.accept}
	m.voting.begin(m, &r, ask, voted, failed, func(in Decided) {
		if m.takeover != o {
			return
		}
		if in.Err == nil && in.Outcome == timeline.Refused && o.tries < forceTries {
			return // and again
		}
		m.takeover = nil
		switch begun := begunForced(m.view.State, r); {
		case in.Err != nil:
			m.fail(o.call, fmt.Errorf("begin epoch %d: %w", r.Epoch, undecided(in.Err)))
		case in.Outcome == timeline.Refused || begun == nil:
			m.fail(o.call, fmt.Errorf("begin epoch %d: %w: %s", r.Epoch, contract.ErrRejected, in.Why))
		default:
			m.answer(o.call, Reply{Reign: begun, Mandate: o.mandate})
		}
	})
}

// keep has the region of m, which diverged, go on with its own history. The beginning of its epoch comes behind that.
func (o *takeover) keep(m *Machine) {
	m.decide(keeping(m.view.State), func(in Decided) {
		if m.takeover != o || in.Err == nil && in.Outcome == timeline.Applied {
			return
		}
		m.takeover = nil
		if in.Err != nil {
			m.fail(o.call, fmt.Errorf("keep the history of region %s: %w", m.region, undecided(in.Err)))
			return
		}
		m.fail(o.call, fmt.Errorf("keep the history of region %s: %w: %s", m.region, contract.ErrRejected, in.Why))
	})
}

// cut ends the history of the region of m where it is to begin r. The beginning comes behind that.
func (o *takeover) cut(m *Machine, r timeline.Reign) {
	c := timeline.Cut(m.view.State, *o.at, r)
	failed := func(err error) {
		m.takeover = nil
		m.fail(o.call, fmt.Errorf("end the history of region %s at position %d: %w", m.region, o.at.Position, err))
	}
	m.decide(c, func(in Decided) {
		switch {
		case m.takeover != o || in.Err == nil && in.Outcome == timeline.Applied:
		case in.Err != nil:
			failed(undecided(in.Err))
		default:
			failed(fmt.Errorf("%w: %s", contract.ErrRejected, in.Why))
		}
	})
}

// above returns an epoch above the highest claim, and above what an open handoff of that epoch may have begun.
func above(claim timeline.Reign, v View) timeline.Epoch {
	epoch := claim.Epoch + 1
	if v.State.Charter() != nil {
		epoch = max(epoch, v.State.Ballot.Promised+1)
	}
	seals := []*timeline.Seal{v.State.Seal}
	for _, l := range v.Fleet.Leaders {
		seals = append(seals, l.Sealed)
	}
	for _, seal := range seals {
		if seal != nil && seal.To != v.State.Region && seal.Epoch+1 >= epoch {
			epoch = seal.Epoch + 2
		}
	}
	return epoch
}

func begunForced(s *timeline.State, r timeline.Reign) *timeline.Reign {
	for _, o := range s.Reigns {
		if o.Epoch == r.Epoch && o.Primary == r.Primary && o.Lossy == r.Lossy {
			return &o
		}
	}
	return nil
}
