package partial

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/kv"
)

// Report is what a node of a full region knows of a partial one.
type Report struct {
	Name     string   `json:"name"`
	Prefixes []string `json:"prefixes"`
	// Nodes are those that follow this node now.
	Nodes []Following `json:"nodes,omitempty"`
}

// Following is a node of a partial region that follows a node.
type Following struct {
	Node  string    `json:"node"`
	Since time.Time `json:"since"`
	// Copying says that it takes a copy, of which SentBytes were sent; else they are of all that was sent to it.
	Copying   bool   `json:"copying,omitempty"`
	SentBytes uint64 `json:"sentBytes"`
	// Revision is what it has, and Behind how many revisions of the fleet are behind that here, whatever their keys.
	Revision int64 `json:"revision"`
	Behind   int64 `json:"behindRevisions"`
	// LagSeconds is an upper bound of how old that is at the primary; negative: it is not known.
	LagSeconds float64 `json:"lagSeconds"`
}

// sessions are those under way.
type sessions struct {
	mu   sync.Mutex
	list []*session
}

// session is what is known of one node that follows. It is safe for concurrent use.
type session struct {
	region, node string
	since        time.Time

	mu       sync.Mutex
	copying  bool
	bytes    uint64
	revision int64
	// whole are the states on their way that were all there was, and at when the last one was that has come.
	whole []moment
	at    time.Time
}

// moment is when a state was told, less how old it was.
type moment struct {
	id uint64
	at time.Time
}

// mostMoments bounds what is kept of states on their way: of more, those in between are left out.
const mostMoments = 1 << 10

func (s *sessions) begin(q *ask) *session {
	one := &session{region: q.Region, node: q.Node, since: time.Now(), revision: q.After}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
	return one
}

func (s *sessions) end(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *session) bool { return other == one })
}

// Report returns what this node knows of all partial regions.
func (s *Source) Report() (list []Report) {
	now := time.Now()
	for _, r := range s.Regions.Known() {
		one := Report{Name: r.Name, Prefixes: r.Prefixes.Texts()}
		s.sessions.mu.Lock()
		for _, f := range s.sessions.list {
			if f.region == r.Name {
				one.Nodes = append(one.Nodes, f.report(now, s.Store))
			}
		}
		s.sessions.mu.Unlock()
		slices.SortFunc(one.Nodes, func(a, b Following) int { return cmp.Compare(a.Node, b.Node) })
		list = append(list, one)
	}
	return list
}

func (f *session) report(now time.Time, store *kv.Store) Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Following{Node: f.node, Since: f.since, Copying: f.copying, SentBytes: f.bytes, Revision: f.revision,
		Behind: kv.RevisionsBehind(store, f.revision), LagSeconds: -1}
	if !f.at.IsZero() {
		r.LagSeconds = now.Sub(f.at).Seconds()
	}
	return r
}

func (f *session) copies(does bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copying = does
}

func (f *session) sent(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += uint64(bytes)
}

// told notes that a state is told, and when it was read.
func (f *session) told(m *stated, read time.Time) {
	if !m.Whole || m.BehindSeconds < 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.whole) == mostMoments {
		f.whole = f.whole[:mostMoments-1]
	}
	f.whole = append(f.whole, moment{m.ID, read.Add(-time.Duration(m.BehindSeconds * float64(time.Second)))})
}

// noted takes what who follows says.
func (f *session) noted(n *note) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revision = max(f.revision, n.Revision)
	for len(f.whole) > 0 && f.whole[0].id <= n.State {
		f.at, f.whole = f.whole[0].at, f.whole[1:]
	}
}
