package succession

import (
	"github.com/mimir-kv/mimir/replication/timeline"
)

// activity is a Stream, Fetch or Stage. There is one at a time.
type activity struct {
	id       uint64
	deed     Deed
	source   string
	stopping bool
}

// copied is a copy of the source that the region was not yet asked to install.
type copied struct {
	Copy
	source string
	staged bool
}

// stop hastens the end of what runs, and reports whether something still does.
func (m *Machine) stop() bool {
	if m.running != nil && !m.running.stopping {
		m.running.stopping = true
		m.do(Effect{Do: Stop, ID: m.running.id})
	}
	return m.running != nil
}

// follow makes the region follow the primary, by its stream or, where that does not lead there, by a copy. What it knew
// of another source is out of date when that one is followed again.
func (m *Machine) follow(claim timeline.Reign) {
	s, source := m.view.State, claim.Primary
	if m.needs != source {
		m.needs = ""
	}
	if m.copied != nil && m.copied.source != source {
		m.copied = nil
	}
	if s.Role() == timeline.Primary || source == "" || source == m.region {
		m.stop()
		return
	}
	if m.running != nil {
		if m.running.source != source {
			m.stop()
		}
		return
	}
	switch {
	case m.rests():
	case s.Diverged == nil && m.needs != source && !forgot(m.view, source):
		m.run(Effect{Do: Stream, Source: source})
	case m.copied == nil:
		m.run(Effect{Do: Fetch, Source: source, Epoch: s.HighestClaim().Epoch})
	case !m.copied.staged:
		m.run(Effect{Do: Stage, Source: source, Copy: m.copied.ID})
	default:
		c := m.copied
		m.copied, m.needs = nil, ""
		m.decide(&timeline.Control{Op: timeline.OpInstall, Checkpoint: c.ID, Origin: &c.Origin}, m.orRest)
	}
}

func (m *Machine) run(e Effect) { m.running = &activity{id: m.do(e), deed: e.Do, source: e.Source} }

// forgot reports whether the source's history has something that this region wrote and that is missing here: a whole
// reign, when all its disks were lost, or the end of one, when they went back. The stream cannot bring it back, since a
// region that has yielded takes no frames and begins none of its own epochs, so the region takes a copy of the state.
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
		missing := r.Epoch > s.Cursor.Epoch && r.Epoch <= s.Yielded.Epoch
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
	if a.stopping || m.term == 0 {
		return
	}
	switch {
	case in.Fork != nil:
		m.diverge(in.Fork)
	case in.NeedsCopy:
		m.needs = a.source
	case in.Err != nil:
		m.needs = ""
		m.rest()
	case in.Copy != nil:
		m.copied = &copied{Copy: *in.Copy, source: a.source}
	case a.deed == Stage && m.copied != nil:
		m.copied.staged = true
	}
}

func (m *Machine) diverge(f *Fork) {
	s := m.view.State
	switch {
	case m.deciding != nil || s.Cursor.Position < f.Position:
		// The picture has moved; the next stream tells again.
	case len(f.Source) == 0:
		m.rest()
	default:
		claim := timeline.Latest(f.Source)
		m.decide(&timeline.Control{
			Op: timeline.OpDiverge, Fork: f.Position, At: s.Cursor.Position, Epoch: s.Cursor.Epoch, Claim: &claim,
		}, m.orRest)
	}
}
