package progress

import (
	"slices"
	"time"
)

// Phase is what is being done of a transfer, or of a bootstrap.
type Phase string

// Phases, in their order. They are in reports: never change one. A reader may meet one that it does not know.
const (
	Looking    Phase = "looking"    // whether a node of the region has a copy already
	Asking     Phase = "asking"     // a node was asked for a copy, and told nothing yet
	Making     Phase = "making"     // that node makes a copy and sums it; how much there is it may not know yet
	Checking   Phase = "checking"   // what is here of a copy is looked through, before the rest is asked for
	Fetching   Phase = "fetching"   // files come
	Staging    Phase = "staging"    // the other nodes of the region take the copy from the one that has it
	Installing Phase = "installing" // the region agrees on the copy, and its nodes put it in the place of what they had
)

// Transfer is how far a whole state is on its way to a node. It travels as JSON: never change a name. What is nil is
// not known.
type Transfer struct {
	Phase Phase  `json:"phase"`
	From  string `json:"from,omitempty"` // the address of the node that gives it
	// DoneBytes are those that need not come any more, or were gone through; TotalBytes is how many there are.
	DoneBytes  *int64 `json:"doneBytes"`
	TotalBytes *int64 `json:"totalBytes"`
	// BytesPerSecond is the pace of the last half minute.
	BytesPerSecond *float64 `json:"bytesPerSecond"`
	// LeftSeconds is how long the rest of this phase takes at the pace so far.
	LeftSeconds *float64 `json:"leftSeconds"`
	// QuietSeconds is how long ago something last came.
	QuietSeconds float64 `json:"quietSeconds"`
}

// Bootstrap is how far the copy is that a region takes because it cannot follow the log. Of the phase Staging the
// leader does not know the bytes, which its siblings tell: see Sum.
type Bootstrap struct {
	Transfer
	Source string `json:"source"` // the region whose state it is
	// Have is how many voters have the copy, and Needed how many have to; zero before that phase.
	Have   int `json:"have,omitempty"`
	Needed int `json:"needed,omitempty"`
}

// Sum fills in the bytes of the phase Staging from what other voters tell that take the copy: as many of them have to
// get it as are needed, so that the slowest of those that are furthest counts.
func (b *Bootstrap) Sum(siblings []Transfer) {
	wanted := b.Needed - b.Have
	if b.Phase != Staging || wanted <= 0 || len(siblings) < wanted {
		return
	}
	list := slices.Clone(siblings)
	slices.SortStableFunc(list, func(a, b Transfer) int { return int(b.share()*1e6) - int(a.share()*1e6) })
	last := list[wanted-1]
	b.DoneBytes, b.TotalBytes, b.BytesPerSecond = last.DoneBytes, last.TotalBytes, last.BytesPerSecond
	b.LeftSeconds, b.QuietSeconds = last.LeftSeconds, last.QuietSeconds
	for _, t := range list[:wanted] {
		if t.LeftSeconds == nil || b.LeftSeconds == nil {
			b.LeftSeconds = nil
			continue
		}
		b.LeftSeconds = new(max(*b.LeftSeconds, *t.LeftSeconds))
	}
}

// share is the part that is done, zero if that is not known.
func (t *Transfer) share() float64 {
	if t.Phase != Fetching || t.DoneBytes == nil || t.TotalBytes == nil || *t.TotalBytes <= 0 {
		return 0
	}
	return float64(*t.DoneBytes) / float64(*t.TotalBytes)
}

const (
	// window is for how long back the pace is measured.
	window = 30 * time.Second
	// apart is how far samples of it are apart at least.
	apart = time.Second
	// Quiet is for how long nothing has to come before no time is told any more, and people are told that nothing does.
	Quiet = 10 * time.Second
)

// Meter measures a transfer. The zero value is of none. It is not safe for concurrent use.
type Meter struct {
	from        string
	phase       Phase
	done, total int64 // total is zero where it is not known
	at          time.Time
	first       time.Time // of the phase
	began       sample    // from where on it is measured: what comes at once at first says nothing of the pace
	samples     []sample
}

type sample struct {
	at   time.Time
	done int64
}

// Begin says that a node was asked.
func (m *Meter) Begin(from string, now time.Time) { *m = Meter{from: from, phase: Asking, at: now} }

// End says that nothing is on its way.
func (m *Meter) End() { *m = Meter{} }

// Came says how far a phase is; total is zero where it is not known.
func (m *Meter) Came(phase Phase, done, total int64, now time.Time) {
	if phase != m.phase || done < m.done || len(m.samples) == 0 {
		m.phase, m.first, m.samples = phase, now, nil
	}
	if now.Sub(m.first) < apart {
		m.began, m.samples = sample{now, done}, []sample{{now, done}} // G2
	}
	m.done, m.total, m.at = done, total, now
	if now.Sub(m.samples[len(m.samples)-1].at) >= apart {
		m.samples = append(m.samples, sample{now, done})
	}
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
}

// Reading tells how far it is, nil if nothing is on its way.
func (m *Meter) Reading(now time.Time) *Transfer {
	if m.phase == "" {
		return nil
	}
	t := &Transfer{Phase: m.phase, From: m.from, QuietSeconds: max(now.Sub(m.at), 0).Seconds()}
	if len(m.samples) == 0 {
		return t
	}
	t.DoneBytes = new(m.done)
	if m.total > 0 {
		t.TotalBytes = new(m.total)
	}
	late := m.samples[0]
	for _, s := range m.samples {
		if now.Sub(s.at) >= window {
			late = s
		}
	}
	if now.Sub(late.at) < apart {
		return t
	}
	lately := pace(late, m.done, now)
	t.BytesPerSecond = new(lately)
	slower := min(lately, pace(m.began, m.done, now)) // G3
	if t.TotalBytes != nil && slower > 0 && now.Sub(m.at) < Quiet {
		t.LeftSeconds = new(float64(max(m.total-m.done, 0)) / slower)
	}
	return t
}

// pace is how many bytes came a second since s.
func pace(s sample, done int64, now time.Time) float64 {
	return float64(done-s.done) / now.Sub(s.at).Seconds()
}
