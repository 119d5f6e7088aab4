package overview

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// bootstrapOf returns how far the copy is that a region takes, nil if it takes none. What the other voters take from
// the leader they tell themselves.
func bootstrapOf(best *fleet.Heard, r *fleet.Region) *contract.Bootstrap {
	if best.Following == nil || best.Following.Bootstrap == nil {
		return nil
	}
	b := *best.Following.Bootstrap
	var siblings []contract.Transfer
	for _, n := range nodes(&best.Report) {
		h := heard(r, n.ID)
		if !n.Learner && h != nil && h.Transfer != nil && h.Transfer.From == best.PeerAddr {
			siblings = append(siblings, *h.Transfer)
		}
	}
	b.Sum(siblings)
	return &b
}
