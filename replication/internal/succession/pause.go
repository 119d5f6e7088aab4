package succession

import "github.com/mimir-kv/mimir/replication/timeline"

// pause is a step, and for how long what came to nothing lately is left alone.
type pause struct {
	step
	now    Instant // of the step
	limits Limits

	pausedTo Instant        // nothing of its own accord is tried before
	vain     int            // decisions in a row that the rules made nothing of
	known    timeline.Reign // the highest claim then
}

// under says which claim is the highest that is known. Under another nothing has failed yet.
func (p *pause) under(claim timeline.Reign) {
	if claim != p.known {
		p.known, p.vain, p.pausedTo = claim, 0, 0
	}
}

// rests reports whether something failed so lately that it is not tried again yet.
func (p *pause) rests() bool {
	if p.now >= p.pausedTo {
		return false
	}
	p.wake(p.pausedTo)
	return true
}

func (p *pause) rest() { p.pausedTo = p.now + p.limits.Retry }

// maxBackOff bounds, in doublings of Limits.Retry, how long what the rules refused waits before it is tried again.
const maxBackOff = 5

// orRest is for a decision of the region's own accord: if it was not taken, the state will ask for it again. It then
// waits; longer each time that the rules made nothing of it (P9).
func (p *pause) orRest(in Decided) {
	switch {
	case in.Err != nil:
		p.rest()
	case in.Outcome == timeline.Applied:
		p.vain = 0
	default:
		p.pausedTo = p.now + p.limits.Retry<<p.vain
		p.vain = min(p.vain+1, maxBackOff)
	}
}

// lookAgain has the fleet asked anew, and looks at the answers soon.
func (p *pause) lookAgain() {
	p.do(Effect{Do: Refresh})
	p.wake(p.now + p.limits.Again)
}
