package succession

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// forceTries is how often a forced beginning is tried behind what was still applied in front of it.
const forceTries = 10

// takeover is a forced failover to this region.
type takeover struct {
	call  uint64
	tries int
}

// May returns why a region in this state cannot take over by force, nil if it can.
func May(s *timeline.State) error {
	switch s.Role() {
	case timeline.Primary:
		if s.Seal == nil {
			return fmt.Errorf("%w: %s", contract.ErrAlreadyPrimary, s.Region)
		}
	case timeline.Diverged:
		return fmt.Errorf("%w: region %s has to rejoin first", contract.ErrDiverged, s.Region)
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
		if err := May(m.view.State); err != nil {
			m.fail(in.Call, err)
			return
		}
		m.takeover = &takeover{call: in.Call}
	}
}

// force begins an epoch above everything known (P3). What a stream had proposed before it was stopped is applied in
// front of it.
func (m *Machine) force(claim timeline.Reign) {
	o := m.takeover
	if err := May(m.view.State); err != nil {
		m.takeover = nil
		m.fail(o.call, err)
		return
	}
	if m.stop() {
		return
	}
	o.tries++
	r := timeline.Reign{Epoch: above(claim, m.view), Primary: m.region, Lossy: true}
	m.decideReign(r, func(in Decided) {
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
			m.answer(o.call, Reply{Reign: begun})
		}
	})
}

// above returns an epoch above the highest claim, and above what an open handoff of that epoch may have begun.
func above(claim timeline.Reign, v View) timeline.Epoch {
	epoch := claim.Epoch + 1
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
		if o.Epoch == r.Epoch && o.Primary == r.Primary && o.Lossy {
			return &o
		}
	}
	return nil
}
