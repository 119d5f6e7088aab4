package sim

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// What nodes do that has to be whole, or not at all, whenever the power fails.
const (
	stepVote    = "vote"    // a region votes
	stepCeiling = "ceiling" // and notes up to where the primary may acknowledge
	stepSeal    = "seal"    // the primary hands over
	stepBegin   = "begin"   // a region begins its epoch
	stepRescue  = "rescue"  // a tail is saved
	stepRewind  = "rewind"  // the state at a fork is made
	stepInstall = "install" // another state takes the place of the own
	stepWitness = "witness" // a witness keeps what it is about to answer
)

// Moments of a step.
const (
	momentBefore = "before" // it is about to be written to the node's log, or its disk
	momentWithin = "within" // it is written, and agreed on; nothing came of it yet
	momentAfter  = "after"  // it is done, and nobody was told
)

// crashPoint is a moment of a step.
type crashPoint struct{ moment, step string }

func (c crashPoint) String() string { return c.moment + " " + c.step }

// crashPoints returns all that there are, in order.
func crashPoints() (all []crashPoint) {
	for _, step := range []string{stepVote, stepCeiling, stepSeal, stepBegin, stepRescue, stepRewind, stepInstall,
		stepWitness} {
		for _, moment := range []string{momentBefore, momentWithin, momentAfter} {
			all = append(all, crashPoint{moment, step})
		}
	}
	return all
}

// crashes has the power fail at a crash point, of the node that comes to it or of its region. It is safe for concurrent
// use.
type crashes struct {
	mu     sync.Mutex
	armed  *crashPoint // nil: none
	region string      // only there; "": anywhere
	passes int         // how often it is passed before
	whole  bool        // the region loses its power
	tried  map[crashPoint]bool
}

// arm has the power fail when somebody in region, or anywhere if that is "", comes to a point for the passes-th time.
func (c *crashes) arm(at crashPoint, region string, passes int, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried == nil {
		c.tried = map[crashPoint]bool{}
	}
	c.armed, c.region, c.passes, c.whole, c.tried[at] = &at, region, passes, whole, true
}

func (c *crashes) disarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = nil
}

// pending reports whether nobody has come to the point that is armed.
func (c *crashes) pending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.armed != nil
}

// tally says of each point that was armed whether the power failed there, and how often.
func (c *crashes) tally(happened *occurrences, t Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.tried {
		n := happened.of(at.String())
		t[at.String()] = Count{On: 1, Happened: min(n, 1), Times: n}
	}
}

// is reports whether a step is armed.
func (c *crashes) is(step string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.armed != nil && c.armed.step == step
}

// hit reports whether the power fails for who comes to a point, and whether that of all of its region does.
func (c *crashes) hit(at crashPoint, region string) (fails, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed == nil || *c.armed != at || c.region != "" && c.region != region {
		return false, false
	}
	if c.passes > 0 {
		c.passes--
		return false, false
	}
	c.armed = nil
	return true, c.whole
}

// meets says that a process comes to a point. It may lose its power then, in the middle of what it does.
func (p *process) meets(moment, step string) {
	f, at := p.member.fleet, crashPoint{moment, step}
	if p.gone.Load() || p.member.current() != p {
		return
	}
	fails, whole := f.crashes.hit(at, p.member.region)
	if !fails {
		return
	}
	f.trace.tell("crash point: %s comes to %v", p.NodeID(), at)
	f.happened.note(injectCrash)
	f.happened.note(at.String())
	p.lose()
	for _, m := range f.members {
		if whole && m.region == p.member.region {
			m.loseCurrent()
		}
	}
}

// loseCurrent takes the power away from whoever runs there.
func (m *member) loseCurrent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		m.process.lose()
	}
}

// Where a node keeps what it rescues, and what it has of a fork.
const (
	rescueFolder = dataFolder + "/rescue/"
	rewindFolder = dataFolder + "/rewind/"
	statesFolder = rewindFolder + "states/"
)

// logged tells of the steps that stand in what a node is about to write to its log.
func (p *process) logged(written []byte) {
	for _, step := range []string{stepVote, stepCeiling, stepSeal, stepInstall} {
		if p.member.fleet.crashes.is(step) && bytes.Contains(written, []byte(`{"op":"`+step+`"`)) {
			p.meets(momentBefore, step)
		}
	}
	if p.member.fleet.crashes.is(stepBegin) && holdsReign(written) {
		p.meets(momentBefore, stepBegin)
	}
}

// holdsReign reports whether a reign stands somewhere in p.
func holdsReign(p []byte) bool {
	kind := []byte{byte(timeline.KindReign), 0, 0, 0, 0, 0, 0} // after the version; without commands
	for i := bytes.Index(p, kind); i > 0; {
		h, ok := timeline.ReadHeader(p[i-1:])
		if ok && h.Epoch > 0 && h.Epoch < 1<<16 {
			return true
		}
		next := bytes.Index(p[i+1:], kind)
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// stepper is told what is done to a disk: a write to the log, a file that is made, and one that gets its name, when it
// is about to and when it has.
type stepper interface {
	logged(written []byte)
	creates(name string)
	renames(to, moment string)
}

func (p *process) creates(name string) {
	switch {
	case strings.HasPrefix(name, rescueFolder) && strings.Contains(name, ".rescue"):
		p.meets(momentBefore, stepRescue)
	case strings.HasPrefix(name, rewindFolder) && strings.HasPrefix(filepath.Base(name), "TRIES"):
		p.meets(momentBefore, stepRewind)
	}
}

func (p *process) renames(to, moment string) {
	switch {
	case strings.HasPrefix(to, rescueFolder) && strings.HasSuffix(to, ".rescue"):
		p.meets(moment, stepRescue)
	case strings.HasPrefix(to, statesFolder) && filepath.Base(to) == "METADATA": // with which it is there
		p.meets(moment, stepRewind)
	}
}

// stepsOf are those that lead from one state of a region to another.
func stepsOf(from, to *timeline.State) (steps []string) {
	if from == nil || to == nil {
		return nil
	}
	if a, b := from.Ballot, to.Ballot; a != nil && b != nil {
		if b.Promised > a.Promised {
			steps = append(steps, stepVote)
		}
		if b.Known.Ceiling > a.Known.Ceiling {
			steps = append(steps, stepCeiling)
		}
	}
	if to.Seal != nil && (from.Seal == nil || *from.Seal != *to.Seal) {
		steps = append(steps, stepSeal)
	}
	return steps
}
