package archive

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Status is how archiving goes, on the node that does it.
type Status struct {
	// Active says that this node is the one that archives; if it is not, another one does, or none.
	Active bool `json:"active"`
	// Elsewhere is the region of which the leader archives by the settings of this node, where that is not its
	// own. What an [Archiver] says has none.
	Elsewhere string `json:"elsewhere,omitempty"`
	// Known says that this node found out how far the archive came: only then Position is up to where the history is
	// archived.
	Known    bool                 `json:"known"`
	Position replication.Position `json:"position,omitempty"`
	// Behind is how many commands the archive lacks of what is applied here. Negative: it is not known.
	Behind int64 `json:"behind"`
	// Lag is an upper bound: everything that was applied here so long ago is archived. Negative: it is not known.
	Lag time.Duration `json:"lagNanos"`
	// Segments, Bytes, Failures and Gaps were counted since the process began.
	Segments uint64 `json:"segments,omitempty"`
	Bytes    uint64 `json:"bytes,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
	Gaps     uint64 `json:"gaps,omitempty"`
	// Gap says that what this node archives does not begin where the archive had ended.
	Gap *Gap `json:"gap,omitempty"`
	// Problem is what went wrong last, empty once a segment was archived after it.
	Problem string `json:"problem,omitempty"`
	// Stuck is how many that archived by former settings of this node are ended, and come back from their place no
	// more: it hangs. They keep some of the log, within its bounds. What an [Archiver] says has none.
	Stuck int `json:"stuck,omitempty"`
}

// Gap is what an archive lacks: what lies behind From, up to To, as it was found at a time by the clock of the node.
// From is zero if nothing is known of it.
type Gap struct {
	From replication.Position `json:"from"`
	To   replication.Position `json:"to"`
	At   time.Time            `json:"at,omitzero"`
}

// ledger counts. It is safe for concurrent use.
type ledger struct {
	headPut time.Time // the archiver's own
	totals  *totals

	mu      sync.Mutex
	former  *Archiver // until this one runs
	status  Status    // without totals
	covered time.Time // everything that was applied then is archived
}

// totals are of all archivers of a node, one after the other.
type totals struct{ segments, bytes, failures, gaps atomic.Uint64 }

// adopt goes on with what is known of the place, if the archiver of before has the same. The caller holds mu.
func (a *Archiver) adopt() {
	if a.former == nil || a.former.Place() != a.Place() {
		return
	}
	a.former.mu.Lock()
	defer a.former.mu.Unlock()
	a.former.adopt() // it may not have come to run
	a.status, a.covered = a.former.status, a.former.covered
}

// Status returns how archiving goes, as of now.
func (a *Archiver) Status() Status {
	_, applied, err := a.config.Place()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Segments, s.Bytes = a.totals.segments.Load(), a.totals.bytes.Load()
	s.Failures, s.Gaps = a.totals.failures.Load(), a.totals.gaps.Load()
	s.Behind = -1
	if s.Lag = -1; s.Active && !a.covered.IsZero() {
		s.Lag = max(0, a.config.Clock.Now().Sub(a.covered))
	}
	if s.Known && err == nil {
		s.Behind = int64(max(applied, s.Position) - s.Position)
	}
	return s
}

// leads notes that this node is the one that archives, and returns up to where it did.
func (l *ledger) leads() replication.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Active = true
	return l.status.Position
}

func (l *ledger) archived() uint64 { return l.totals.segments.Load() }

// begun notes that archiving goes on behind s.
func (l *ledger) begun(s *Segment, gap bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Known, l.status.Position, l.status.Problem = true, s.To.Cursor.Position, ""
	if !gap {
		return
	}
	l.covered = time.Time{}
	l.totals.gaps.Add(1)
	l.status.Gap = &Gap{To: s.To.Cursor.Position, At: now.UTC().Round(0)}
	if s.Gap != nil {
		l.status.Gap.From = s.Gap.Position
	}
}

// seen notes that everything that was applied at a time is archived.
func (l *ledger) seen(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.covered = at
}

// kept notes that a segment was archived.
func (l *ledger) kept(s *Segment, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Position = s.To.Cursor.Position
	l.totals.segments.Add(1)
	l.totals.bytes.Add(uint64(bytes))
	l.status.Problem = ""
}

func (l *ledger) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.failures.Add(1)
	l.status.Problem = err.Error()
}

// elsewhere notes that this node is not the one that archives.
func (l *ledger) elsewhere() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Active, l.status.Known, l.status.Problem, l.status.Gap = false, false, "", nil
	l.status.Position, l.covered = 0, time.Time{}
}
