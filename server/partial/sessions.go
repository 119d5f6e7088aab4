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
	// Problem says why the file of partial regions of now does not hold, and the one of before does.
	Problem string `json:"problem,omitempty"`
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
	heard    time.Time // when it said something last
	// whole are the states on their way that were all there was, and at when the last one was that has come.
	whole []moment
	at    time.Duration // 0: none has
}

// moment is when a state was told, less how old it was, as the clock counts.
type moment struct {
	id uint64
	at time.Duration
}

// mostMoments bounds what is kept of states on their way: of more, those in between are left out.
const mostMoments = 1 << 10

func (s *sessions) begin(q *ask) *session {
	one := &session{region: q.Region, node: q.Node, since: time.Now(), heard: time.Now(), revision: q.After}
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

// of returns those of a partial region. One that says nothing any more, of a node that came anew meanwhile, is none:
// its connection was cut, and nobody has told.
func (s *sessions) of(region string, now time.Time) (list []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newer := map[string]bool{}
	for _, one := range slices.Backward(s.list) {
		if one.region != region || newer[one.node] && one.isSilent(now) {
			continue
		}
		newer[one.node] = true
		list = append(list, one)
	}
	return list
}

// Report returns what this node knows of all partial regions.
func (s *Source) Report() (list []Report) {
	now := time.Now()
	known := s.Regions.Known()
	problem := s.Regions.Problem()
	for _, r := range known {
		one := Report{Name: r.Name, Prefixes: r.Prefixes.Texts(), Problem: problem}
		for _, f := range s.sessions.of(r.Name, now) {
			one.Nodes = append(one.Nodes, f.report(s.Clock.Elapsed(), s.Store))
		}
		slices.SortFunc(one.Nodes, func(a, b Following) int { return cmp.Compare(a.Node, b.Node) })
		list = append(list, one)
	}
	return list
}

func (f *session) report(now time.Duration, store *kv.Store) Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Following{Node: f.node, Since: f.since, Copying: f.copying, SentBytes: f.bytes, Revision: f.revision,
		Behind: kv.RevisionsBehind(store, f.revision), LagSeconds: -1}
	if f.at != 0 {
		r.LagSeconds = (now - f.at).Seconds()
	}
	return r
}

// isSilent reports whether it has said nothing for as long as it would wait for a word itself.
func (f *session) isSilent(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Sub(f.heard) > silence
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
func (f *session) told(m *stated, read time.Duration) {
	if !m.Whole || m.BehindSeconds < 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.whole) == mostMoments {
		f.whole = f.whole[:mostMoments-1]
	}
	f.whole = append(f.whole, moment{m.ID, read - time.Duration(m.BehindSeconds*float64(time.Second))})
}

// noted takes what who follows says.
func (f *session) noted(n *note) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard, f.revision = time.Now(), max(f.revision, n.Revision)
	for len(f.whole) > 0 && f.whole[0].id <= n.State {
		f.at, f.whole = f.whole[0].at, f.whole[1:]
	}
}
