package archive

import (
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Status is how archiving goes, on the node that does it.
type Status struct {
	// Active says that this node is the one that archives; if it is not, another one does, or none.
	Active bool `json:"active"`
	// Position is up to where the history is archived, and Behind how many commands it lacks of what is applied here.
	Position replication.Position `json:"position,omitempty"`
	Behind   uint64               `json:"behind,omitempty"`
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
}

// Gap is what an archive lacks: what lies behind From, up to To. From is zero if nothing is known of it.
type Gap struct {
	From replication.Position `json:"from"`
	To   replication.Position `json:"to"`
}

// ledger counts. It is safe for concurrent use.
type ledger struct {
	headPut time.Time // the archiver's own

	mu      sync.Mutex
	status  Status
	covered time.Time // everything that was applied then is archived
}

// Status returns how archiving goes.
func (a *Archiver) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	if s.Lag = -1; s.Active && !a.covered.IsZero() {
		s.Lag = max(0, a.config.Clock.Now().Sub(a.covered))
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

func (l *ledger) archived() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Segments
}

// begun notes that archiving goes on behind s.
func (l *ledger) begun(s *Segment, gap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Position, l.status.Behind, l.status.Problem = s.To.Cursor.Position, 0, ""
	if !gap {
		return
	}
	l.covered = time.Time{}
	l.status.Gaps++
	l.status.Gap = &Gap{To: s.To.Cursor.Position}
	if s.Gap != nil {
		l.status.Gap.From = s.Gap.Position
	}
}

// seen notes that everything that was applied at a time was read, up to a position, and whether it is archived too.
func (l *ledger) seen(at time.Time, p timeline.Position, archived bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if archived {
		l.covered = at
	}
	l.status.Behind = uint64(max(p, l.status.Position) - l.status.Position)
}

// kept notes that a segment was archived.
func (l *ledger) kept(s *Segment, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Position = s.To.Cursor.Position
	l.status.Segments++
	l.status.Bytes += uint64(bytes)
	l.status.Problem = ""
}

func (l *ledger) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Failures++
	l.status.Problem = err.Error()
}

// elsewhere notes that this node is not the one that archives.
func (l *ledger) elsewhere() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Active, l.status.Problem, l.status.Behind, l.status.Gap, l.covered = false, "", 0, nil, time.Time{}
	l.status.Position = 0
}
