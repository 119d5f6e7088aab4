package succession

import (
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// activity is a Stream, Fetch, Stage or Rewind. There is one at a time.
type activity struct {
	id       uint64
	deed     Deed
	source   string
	stopping bool
	until    Instant // of a Rewind
	late     bool    // it was stopped because that was over
}

// copied is a copy of the source that the region was not yet asked to install.
type copied struct {
	Copy
	source string
	staged bool
	own    bool // made by the region itself, of what it had at the fork
}

// stop hastens the end of what runs, and reports whether something still does.
func (m *Machine) stop() bool {
	if m.running != nil && !m.running.stopping {
		m.running.stopping = true
		m.do(Effect{Do: Stop, ID: m.running.id})
	}
	return m.running != nil
}

// follow makes the region follow the primary, by its stream or, where that does not lead there, by a copy: of its own
// state at the fork, if its nodes can make that, or else of the source's. What it
// knew of another source is out of date when that one is followed again.
func (m *Machine) follow(claim timeline.Reign) {
	s, source := m.view.State, claim.Primary
	if m.needs != source {
		m.needs = ""
	}
	if m.copied != nil && m.copied.source != source {
		m.copied = nil
	}
	if s.Diverged == nil {
		m.back = rewinding{}
	}
	if s.Role() == timeline.Primary || source == "" || source == m.region || bound(s, claim) {
		m.stop()
		return
	}
	if m.running != nil {
		if m.running.source != source || m.running.deed == Stream && forgot(m.view, source) {
			m.stop()
		}
		m.back.hurry(m)
		return
	}
	switch {
	case m.rests():
	case s.Diverged == nil && m.needs != source && !forgot(m.view, source):
		m.run(Effect{Do: Stream, Source: source})
	case m.copied == nil && m.back.awaits(m, source):
	case m.copied == nil && m.back.may(source) && rewinds(m.view, source):
		m.run(Effect{Do: Rewind, Source: source, Reigns: m.view.Fleet.Leaders[source].Reigns})
	case m.copied == nil:
		m.run(Effect{Do: Fetch, Source: source, Epoch: s.HighestClaim().Epoch})
	default:
		m.takeCopy()
	}
}

// takeCopy has the region install the copy that is here. A copy takes the place of everything, so what the region has
// and the copy has not is a tail, to be saved before.
func (m *Machine) takeCopy() {
	s, c := m.view.State, m.copied
	if last := timeline.Latest(c.Origin.Reigns); ownForgotten(s, last) {
		m.copied, m.needs = nil, ""
		if timeline.Supersedes(last, m.heard) {
			m.heard = last
		}
		m.rest()
		return
	}
	install := &timeline.Control{Op: timeline.OpInstall, Checkpoint: c.ID, Origin: &c.Origin}
	if outcome, _ := timeline.Would(s, install); outcome != timeline.Applied {
		install.Back = c.own && !c.Old && timeline.Supersedes(s.HighestClaim(), timeline.Latest(c.Origin.Reigns))
	}
	fork := parts(s, c.Copy)
	if fork != nil && mayGiveWay(s, m.claim(), timeline.Latest(fork.Source)) {
		m.diverge(fork)
		return
	}
	outcome, why := timeline.Would(s, install)
	if fork != nil || outcome != timeline.Applied {
		m.copied, m.needs = nil, ""
		m.orRest(Decided{Outcome: timeline.Refused, Why: why})
		return
	}
	if !c.staged {
		m.run(Effect{Do: Stage, Source: c.source, Copy: c.ID})
		return
	}
	m.copied, m.needs = nil, ""
	m.decide(install, m.orRest)
}

// ownForgotten reports whether r is of this region, which has not got it: with it, the region would be primary again of
// a reign of which nobody knows how far it came.
func ownForgotten(s *timeline.State, r timeline.Reign) bool {
	return r.Primary == s.Region && !timeline.Supersedes(s.HighestClaim(), r) && !slices.Contains(s.Reigns, r)
}

// parts returns where the history of a region that has not diverged parts from that of a copy, nil if the copy
// continues it. One that is as far and knows of further reigns does not continue it by a stream either, or there would
// be no copy.
func parts(s *timeline.State, c Copy) *Fork {
	o := c.Origin
	relation, shared := timeline.Compare(s.Reigns, o.Reigns, s.Cursor.Position, o.Cursor.Position)
	level := relation == timeline.Prefix && s.Cursor.Position == o.Cursor.Position && len(o.Reigns) > len(s.Reigns)
	switch {
	case s.Diverged != nil:
		return nil
	case c.Parts != nil:
		return &Fork{Position: min(shared, *c.Parts), Source: o.Reigns}
	case relation == timeline.Forked || level:
		return &Fork{Position: shared, Source: o.Reigns}
	default:
		return nil
	}
}

// outlived gives up a history that began anew: the fleet knows of a higher reign of this region, which this region has
// forgotten with its disks. Nobody can go on with that reign, since nobody knows how far it came; but what was written
// since is a tail of the history in which it stands.
func (m *Machine) outlived(claim timeline.Reign) bool {
	s := m.view.State
	if claim.Primary != m.region || s.Diverged != nil || len(s.Reigns) == 0 ||
		!timeline.Supersedes(claim, s.HighestClaim()) {
		return false
	}
	holder := holds(m.view, claim)
	if holder == "" {
		return false
	}
	o := m.view.Fleet.Leaders[holder]
	relation, shared := timeline.Compare(s.Reigns, o.Reigns, s.Cursor.Position, o.Cursor.Position)
	if s.Role() != timeline.Primary && relation != timeline.Forked {
		return false
	}
	if !m.rests() && !m.stop() {
		m.decide(&timeline.Control{
			Op: timeline.OpDiverge, Fork: proven(s, o, shared), At: s.Cursor.Position, Epoch: s.Cursor.Epoch,
			Claim: &claim,
		}, m.orRest)
	}
	return true
}

// proven returns shared if the chains there are known to be equal, and otherwise where the last common reign began.
func proven(s *timeline.State, o Sight, shared timeline.Position) timeline.Position {
	here := timeline.Origin{Cursor: s.Cursor, Reigns: s.Reigns}
	there := timeline.Origin{Cursor: o.Cursor, Reigns: o.Reigns}
	r, began, _ := timeline.Shared(here, there)
	a, known := here.ChainAt(r, shared)
	b, also := there.ChainAt(r, shared)
	if known && also && a == b {
		return shared
	}
	return began
}

// holds returns the region furthest in the history that has this reign, "" if no leader that answers is in it.
func holds(v View, r timeline.Reign) (holder string) {
	for _, name := range slices.Sorted(maps.Keys(v.Fleet.Leaders)) {
		l := v.Fleet.Leaders[name]
		if r.Epoch != 0 && l.Role != timeline.Diverged && slices.Contains(l.Reigns, r) &&
			(holder == "" || l.Cursor.Position > v.Fleet.Leaders[holder].Cursor.Position) {
			holder = name
		}
	}
	return holder
}

// rewinds reports whether a region that has diverged gets to the history of its source by going back to the fork: what
// comes behind it is the stream's, but for what the region wrote itself.
func rewinds(v View, source string) bool {
	s, from := v.State, v.Fleet.Leaders[source]
	if !v.Rewinds || s.Diverged == nil || from.Role == timeline.Diverged {
		return false
	}
	fork := s.Diverged.Fork
	_, shared := timeline.Compare(s.Reigns, from.Reigns, s.Cursor.Position, from.Cursor.Position)
	reigns := timeline.Until(from.Reigns, fork)
	at := timeline.Cursor{Epoch: timeline.Latest(reigns).Epoch, Position: fork}
	m := timeline.NewMachine(s)
	outcome, _, _ := m.Control(&timeline.Control{
		Op: timeline.OpInstall, Checkpoint: "own", Back: true, Origin: &timeline.Origin{Cursor: at, Reigns: reigns},
	})
	back := m.State()
	return shared == fork && outcome == timeline.Applied && !forgot(View{State: &back, Fleet: v.Fleet}, source)
}

func (m *Machine) run(e Effect) {
	m.running = &activity{id: m.do(e), deed: e.Do, source: e.Source, until: m.now + m.limits.Rewind}
}

// forgot reports whether the source's history has something that this region wrote and that is missing here: a whole
// reign, when all its disks were lost, or the end of one, when they went back. The stream does not bring it back, since
// a region that has yielded takes no frames of its own epochs, and one that began such a reign again would write where
// it has written before. So the region takes a copy of the state.
func forgot(v View, source string) bool {
	s, from := v.State, v.Fleet.Leaders[source]
	for i, r := range from.Reigns {
		if r.Primary != s.Region || s.Role() == timeline.Primary {
			continue
		}
		end := from.Cursor.Position
		if i+1 < len(from.Reigns) {
			end = from.Reigns[i+1].First - 1
		}
		missing := r.Epoch > s.Cursor.Epoch
		if missing || r == timeline.Latest(s.Reigns) && end > s.Cursor.Position {
			return true
		}
	}
	return false
}

// ended takes what an activity came to. A fork is decided at once: every node saves its tail when it applies that.
func (m *Machine) ended(in Ended) {
	a := m.running
	if a == nil || a.id != in.ID {
		return
	}
	m.running = nil
	if a.stopping && !a.late || m.term == 0 {
		return
	}
	switch {
	case in.Fork != nil:
		m.diverge(in.Fork)
	case in.NeedsCopy:
		m.needs = a.source
	case in.Err != nil && a.deed == Rewind:
		m.back.inVain(m, a, in.Again)
	case in.Gone:
		m.copied, m.needs = nil, ""
		m.rest()
	case in.Err != nil:
		m.needs = ""
		if a.deed == Fetch {
			m.back.noCopy(a.source)
		}
		m.rest()
	case in.Copy != nil:
		m.copied = &copied{Copy: *in.Copy, source: a.source, staged: a.deed == Rewind, own: a.deed == Rewind}
	case a.deed == Stage && m.copied != nil:
		m.copied.staged = true
	}
}

// diverge gives up what the region has after the fork, for the history of the highest claim that is known and for no
// other: a source that has forgotten that claim has nothing worth it.
func (m *Machine) diverge(f *Fork) {
	s, claim := m.view.State, timeline.Latest(f.Source)
	switch {
	case m.deciding != nil || s.Cursor.Position < f.Position:
		// The picture has moved; the next stream tells again.
	case !mayGiveWay(s, m.claim(), claim):
		m.rest() // it is the source that has to give way
	default:
		m.decide(&timeline.Control{
			Op: timeline.OpDiverge, Fork: f.Position, At: s.Cursor.Position, Epoch: s.Cursor.Epoch, Claim: &claim,
		}, m.orRest)
	}
}

// mayGiveWay reports whether a region gives up what it has for the history of a claim: it outranks its own, and no
// higher one is known.
func mayGiveWay(s *timeline.State, highest, claim timeline.Reign) bool {
	return timeline.Supersedes(claim, timeline.Latest(s.Reigns)) && !timeline.Supersedes(highest, claim)
}
