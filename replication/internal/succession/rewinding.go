package succession

import "fmt"

// maxRewinds is how often a region tries to go back by what its nodes have themselves, before it takes a copy (P12).
const maxRewinds = 3

// rewinding is what came of going back to the fork for the history of one source.
type rewinding struct {
	source string
	failed int     // tries
	late   bool    // one of them did not end in its time
	until  Instant // the word of the source is waited for; zero: it is not
}

// may reports whether the region tries that for the history of source.
func (r *rewinding) may(source string) bool { return r.source != source || r.failed < maxRewinds }

// awaits reports whether a region that has diverged waits to hear of the source itself: whoever told of its claim, and
// its own stream, may be faster, and what to go back to is in its word. It is not waited for for ever: the source may
// have no leader, and nodes that have its state.
func (r *rewinding) awaits(m *Machine, source string) bool {
	if r.source != source { // another one has not been waited for
		*r = rewinding{source: source}
	}
	_, heard := m.view.Fleet.Leaders[source]
	if heard || !m.view.Rewinds || m.view.State.Diverged == nil || !r.may(source) {
		return false
	}
	if r.until == 0 {
		r.until = m.now + m.limits.CatchUp
	}
	if m.now >= r.until {
		return false
	}
	m.lookAgain()
	return true
}

// hurry stops what has had its time: a node that hangs would hold the region up for as long as it does.
func (r *rewinding) hurry(m *Machine) {
	switch a := m.running; {
	case a.deed != Rewind || a.stopping:
	case m.now < a.until:
		m.wake(a.until)
	default:
		a.late, a.stopping = true, true
		m.do(Effect{Do: Stop, ID: a.id, Why: fmt.Sprintf("nodes did not come to the fork in %v", m.limits.Rewind)})
	}
}

// inVain takes note that going back came to nothing: another try may do better if nodes could not be asked, and none
// does soon if they said that they cannot, or did not come to an end.
func (r *rewinding) inVain(m *Machine, a *activity, again bool) {
	if r.source != a.source {
		*r = rewinding{source: a.source}
	}
	r.late = r.late || a.late
	if r.failed++; a.late || !again {
		r.failed = maxRewinds
	}
	if r.may(a.source) {
		m.rest()
	}
}

// noCopy takes note that a copy of the source is not to be had either: by now the nodes may have what they need.
func (r *rewinding) noCopy(source string) {
	if r.source == source && !r.late {
		r.failed = min(r.failed, maxRewinds-1)
	}
}
