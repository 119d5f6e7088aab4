package server

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// refusalInterval is how often the log is told of peers that are refused.
const refusalInterval = 10 * time.Second

// refusals tells the log of peers that are refused, and counts those for which it is too early.
type refusals struct {
	logger *slog.Logger
	mu     sync.Mutex
	last   time.Time
	more   int
}

func (r *refusals) tell(text string, attributes ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < refusalInterval {
		r.more++
		return
	}
	r.logger.Warn(text, append(attributes, "more", r.more)...)
	r.last, r.more = now, 0
}

// admitting says of the peers of a fleet whether the rule takes them, and tells the log of those that it does not: a
// node that is refused may need nothing of this one for a long time, and would be missed when it leads.
func (r *PeerRule) admitting(fleet string, logger *slog.Logger) func(grpctransport.Peer) error {
	log := &refusals{logger: logger}
	return func(p grpctransport.Peer) error {
		err := r.admit(fleet, p)
		if err != nil {
			log.tell("a peer was refused", "peer", p.Node, "of", p.Region, "from", p.Addr, "err", err)
		}
		return err
	}
}

// cut is the beginning of what a stranger says of itself.
func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), 100)], "?") }

// refusing tells the log of peers of fleets that are not served here.
func refusing(logger *slog.Logger) func(fleet, from string) {
	log := &refusals{logger: logger}
	return func(fleet, from string) {
		log.tell("a peer of a fleet that --fleet does not name was refused", "of", cut(fleet), "from", cut(from))
	}
}
