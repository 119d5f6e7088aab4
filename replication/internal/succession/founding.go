package succession

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// founding is an order to begin the first epoch of a new fleet here: the calls that wait for it. As long as one does,
// the region may found (P7).
type founding struct{ calls []uint64 }

func (f *founding) asked(m *Machine, in Found) {
	switch claim := m.claim(); {
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	case claim.Epoch > 0:
		m.fail(in.Call, fmt.Errorf("%w: the fleet exists: epoch %d of region %s; nobody forms it again",
			contract.ErrRejected, claim.Epoch, claim.Primary))
	default:
		f.calls = append(f.calls, in.Call)
		m.do(Effect{Do: Refresh})
	}
}

// ordered reports whether somebody waits for this region to form a fleet.
func (f *founding) ordered() bool { return len(f.calls) > 0 }

// finish answers those who wait once there is a fleet.
func (f *founding) finish(m *Machine) {
	claim := m.claim()
	if !f.ordered() || claim.Epoch == 0 {
		return
	}
	if claim.Primary != m.region || !slices.Contains(m.view.State.Reigns, claim) {
		f.drop(m, fmt.Errorf("%w: the fleet exists: epoch %d of region %s", contract.ErrRejected, claim.Epoch,
			claim.Primary))
		return
	}
	for _, call := range f.calls {
		m.answer(call, Reply{Reign: &claim})
	}
	f.calls = nil
}

func (f *founding) drop(m *Machine, why error) {
	for _, call := range f.calls {
		m.fail(call, why)
	}
	f.calls = nil
}

// gaveUp tells who waits no longer for whom it waited. What is proposed by then may come about.
func (f *founding) gaveUp(m *Machine, in GaveUp) {
	i := slices.Index(f.calls, in.Call)
	if i < 0 {
		return
	}
	f.calls = slices.Delete(f.calls, i, i+1)
	if m.deciding != nil {
		m.fail(in.Call, fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, in.Why))
		return
	}
	m.fail(in.Call, fmt.Errorf("%w: not formed: %s", contract.ErrNotReady, because(m.view.Fleet.Silent)))
}

// because tells why nobody knows whether the silent regions have a history.
func because(silent map[string]string) string {
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(silent)) {
		reasons = append(reasons, fmt.Sprintf("region %s may have a history, and does not say: %s", name, silent[name]))
	}
	return strings.Join(reasons, "; ")
}

// fleetless tells that a region waits for a fleet that it can join, since it is not to form one by itself.
func fleetless(v View) *Trouble {
	t := &Trouble{
		What:   fmt.Sprintf("region %s has no history, and waits for a fleet that it can join", v.State.Region),
		Detail: "no region that answers has one either",
	}
	if len(v.Fleet.Silent) > 0 {
		t.Detail = because(v.Fleet.Silent)
	}
	t.Detail += "; where none is to begin one by itself, an operator forms the fleet, once: mimir fleet init " +
		"--primary REGION"
	return t
}

// unfounded reports whether nobody is known to have a history, and this region is not to begin one.
func unfounded(m *Machine, claim timeline.Reign) bool {
	return claim.Epoch == 0 && !m.founder && !m.founding.ordered()
}
