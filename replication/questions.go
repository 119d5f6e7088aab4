package replication

import "github.com/mimir-kv/mimir/replication/internal/peer"

// questions registers who answers what.
func (n *node) questions() *peer.Registry {
	r := peer.NewRegistry(n.life.Err)
	n.slots.Register(r)
	n.reads.Register(r)
	n.governor.Register(r)
	n.members.Register(r)
	n.reporter.Register(r)
	n.staging.Answer(r, func() uint64 { return n.group.Status().Term })
	n.tails.Answer(r)
	return r
}
