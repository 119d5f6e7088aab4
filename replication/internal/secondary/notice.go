package secondary

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// notice is what is told of a copy that this region takes. It is safe for concurrent use.
type notice struct {
	news wake.Signal

	mu     sync.Mutex
	at     timeline.Position // of the copy; zero as long as that is not known
	before timeline.Position // then: the copy is there or further, as far as is known; zero: nothing is
}

// newNotice returns the notice of a copy at p; zero: where it is is not known yet.
func newNotice(p timeline.Position) *notice { return &notice{news: wake.New(), at: p} }

// behind says that a copy is asked of a node that was heard to be at p, zero if it was not.
func (n *notice) behind(p timeline.Position) { n.set(0, p) }

// is says where the copy is.
func (n *notice) is(p timeline.Position) { n.set(p, 0) }

func (n *notice) set(at, before timeline.Position) {
	n.mu.Lock()
	n.at, n.before = at, before
	n.mu.Unlock()
	n.news.Nudge()
}

// places returns which positions are told, in order. Who is told of none takes the copy for one of what he has himself;
// but the node that makes it may be behind him, and then he keeps the log from there, if he has it.
func (n *notice) places() []timeline.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at != 0 || n.before == 0 {
		return []timeline.Position{n.at}
	}
	return []timeline.Position{0, n.before}
}
