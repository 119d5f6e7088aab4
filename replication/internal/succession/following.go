package succession

import (
	"slices"

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

// forgot reports whether the source's history has a reign of this region that is missing here: all disks of the region
// were lost. The stream cannot bring it back, since a region that has yielded begins none of its own epochs, so the
// region takes a copy of the state.
func forgot(v View, source string) bool {
	s := v.State
	return slices.ContainsFunc(v.Fleet.Leaders[source].Reigns, func(r timeline.Reign) bool {
		return r.Primary == s.Region && r.Epoch > s.Cursor.Epoch && r.Epoch <= s.Yielded.Epoch
	})
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
