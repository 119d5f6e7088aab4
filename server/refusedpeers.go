package server

import (
	"log/slog"
	"sync"
	"time"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// refusalInterval is how often the log is told of peers that are refused.
const refusalInterval = 10 * time.Second

// admitting says of the peers of a fleet whether the rule takes them, and tells the log of those that it does not: a
// node that is refused may need nothing of this one for a long time, and would be missed when it leads.
func (r *PeerRule) admitting(fleet string, logger *slog.Logger) func(grpctransport.Peer) error {
	var mu sync.Mutex
	var last time.Time
	more := 0
	return func(p grpctransport.Peer) error {
		err := r.admit(fleet, p)
		if err == nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); last.IsZero() || now.Sub(last) >= refusalInterval {
			logger.Warn("a peer was refused", "peer", p.Node, "of", p.Region, "from", p.Addr, "more", more, "err", err)
			last, more = now, 0
		} else {
			more++
		}
		return err
	}
}
