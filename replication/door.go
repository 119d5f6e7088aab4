package replication

import (
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
)

// newDoor makes what decides who may have what of this node, by the roster and by who was removed from its region. One
// that was removed itself bars none of its region: the others may need both until they know.
func newDoor(n *node) *peer.Door {
	c := &n.config
	removed := func(node string) bool { return n.directory.Removed(members.RaftID(c.RegionID, node)) }
	told := refusals{clock: c.Clock, logger: n.logger}
	return peer.NewDoor(peer.DoorConfig{
		Region: c.RegionID, Bars: n.roster.Bars, Refused: told.tell,
		Removed: func(node string) bool { return removed(node) && !removed(c.NodeID) },
	})
}

// refusalsEvery is how often the log is told of who is refused.
const refusalsEvery = 10 * time.Second

// refusals tells the log of who is refused what, and counts those for which it is too early.
type refusals struct {
	clock  clock.Clock
	logger *slog.Logger

	mu   sync.Mutex
	last time.Time
	more int
}

func (r *refusals) tell(c transport.Caller, what string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if !r.last.IsZero() && now.Sub(r.last) < refusalsEvery {
		r.more++
		return
	}
	r.logger.Warn("a peer was refused what it is not entitled to", "peer", cut(c.Node), "of", cut(c.Region),
		"what", what, "err", why, "more", r.more)
	r.last, r.more = now, 0
}

// cut is the beginning of what a stranger says of itself.
func cut(name string) string { return name[:min(len(name), 100)] }
