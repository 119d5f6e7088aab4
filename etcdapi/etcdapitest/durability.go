package etcdapitest

import "github.com/mimir-kv/mimir/replication"

// Beside has the fleet of r have these regions too.
func Beside(r *Replicator, regions ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others = regions
}

// Shorten has writes that ask for further regions be done and end with err; nil: they are in those.
func Shorten(r *Replicator, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = err
}

// Proposals returns how many writes were applied.
func Proposals(r *Replicator) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proposals
}

func shortOf(r *Replicator, opts []replication.ProposeOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proposals++
	if len(opts) == 0 {
		return nil
	}
	return r.short
}
