package propose

import (
	"slices"
	"time"
)

// refused reports whether the gate takes no writes, and has told u so. What is bound to a tenure is this node's own
// doing, as that a lease ends, and is not asked.
func (u *proposal) refused(g Gate) bool {
	if g == nil || u.bound {
		return false
	}
	v := g.Verdict()
	if v.Refuse == nil || !u.claim() {
		return false
	}
	u.finish(result{err: v.Refuse})
	return true
}

// turnAway tells what waits for a frame of p that the gate takes no writes any more: it came while they were only
// slowed down, and all of it at once would come on top of the bound.
func turnAway(p *pipeline) {
	if p.gate == nil || p.gate.Verdict().Refuse == nil {
		return
	}
	p.mu.Lock()
	var away []*proposal
	p.queue = slices.DeleteFunc(p.queue, func(u *proposal) bool {
		if !u.bound {
			away = append(away, u)
		}
		return !u.bound
	})
	p.mu.Unlock()
	var back []*proposal
	for _, u := range away {
		if !u.refused(p.gate) && !u.withdrawn() {
			back = append(back, u) // it takes them again
		}
	}
	p.back.requeue(back)
}

// paceOf returns for how long the next frame of p has to wait, since the gate slows writes down. The caller holds mu.
func paceOf(p *pipeline) time.Duration {
	if p.gate == nil {
		return 0
	}
	delay := p.gate.Verdict().Delay
	if delay <= 0 {
		return 0
	}
	return delay - p.clock.Now().Sub(p.framed)
}

// afterPace returns what comes when the gate lets the next frame of p go; it never does if none waits for that. It goes
// by what was found when a frame was looked for: if the gate lets it go by now, nobody else says so. stop ends it.
func afterPace(p *pipeline) (again <-chan time.Time, stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paced {
		return nil, func() {}
	}
	timer := p.clock.NewTimer(max(paceOf(p), 0))
	return timer.C(), func() { timer.Stop() }
}
