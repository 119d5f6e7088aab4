package succession

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// founding is what this leader knows of forming a new fleet: the calls that wait for it, as long as which the region
// may (P7), and since when it says to the others that it does.
//
// Of two regions that form one at the same time, one sees that of the other: both say so before they ask, and what was
// asked before does not count. The first one by name goes on, and the other one steps back.
type founding struct {
	calls []uint64
	asked Instant // when the last one came
	up    bool    // it says so
	since Instant
}

// due reports whether the region begins the first epoch now.
func (f *founding) due(m *Machine, claim timeline.Reign) bool {
	if m.takeover != nil || claim.Epoch > 0 || !m.founder && !f.ordered() {
		f.up = false
		return false
	}
	if first := f.first(m); first != "" {
		if f.up = false; m.view.Fleet.Leaders[first].Asked > f.asked {
			f.drop(m, fmt.Errorf("%w: region %s forms the fleet just now, and this one joins it",
				contract.ErrRejected, first))
		}
		return false
	}
	if !f.up {
		f.up, f.since = true, m.now
		m.do(Effect{Do: Refresh})
	}
	return f.awaits(m) == ""
}

// first returns a region that forms a fleet as well, and goes before this one; "" if none is known to.
func (f *founding) first(m *Machine) string {
	for _, name := range slices.Sorted(maps.Keys(m.view.Fleet.Leaders)) {
		if m.view.Fleet.Leaders[name].Forming && name < m.region {
			return name
		}
	}
	return ""
}

// awaits tells what has to be known yet, "" if nothing has: to be asked is not enough, who does not answer may have a
// history that is forgotten here.
func (f *founding) awaits(m *Machine) string {
	if len(m.view.Fleet.Silent) > 0 {
		return because(m.view.Fleet.Silent)
	}
	for _, name := range slices.Sorted(maps.Keys(m.view.Fleet.Leaders)) {
		switch l := m.view.Fleet.Leaders[name]; {
		case l.Forming:
			return fmt.Sprintf("region %s was about to form a fleet, and has not stepped back yet", name)
		case l.Asked <= f.since:
			return fmt.Sprintf("region %s was not asked again yet", name)
		}
	}
	return ""
}

func (f *founding) order(m *Machine, in Found) {
	switch claim := m.claim(); {
	case m.term == 0:
		m.fail(in.Call, contract.ErrNotLeader)
	case claim.Epoch > 0:
		m.fail(in.Call, fmt.Errorf("%w: the fleet exists: epoch %d of region %s; nobody forms it again",
			contract.ErrRejected, claim.Epoch, claim.Primary))
	default:
		f.calls, f.asked = append(f.calls, in.Call), m.now
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
	m.fail(in.Call, fmt.Errorf("%w: not formed: %s", contract.ErrNotReady, f.awaits(m)))
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

// Forming reports whether the leader is about to begin the first epoch of a new fleet, so that no other region does.
func Forming(m *Machine) bool { return m.founding.up }
