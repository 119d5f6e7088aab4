package etcdapitest

import (
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Follow makes the region a secondary of another one, which answers or not.
func (r *Replicator) Follow(primary string, answers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows = &replication.PeerStatus{ID: primary, Role: replication.RolePrimary, Healthy: answers}
}

// Unheard says for how long the region that this one follows was asked in vain, or had no leader.
func (r *Replicator) Unheard(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows.SilentSeconds = age.Seconds()
}
