package etcdapitest

import "github.com/mimir-kv/mimir/replication"

// Beside has the fleet have these regions too.
func (r *Replicator) Beside(regions ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others = regions
}

// Shorten has writes that ask for further regions be done and end with err; nil: they are in those.
func (r *Replicator) Shorten(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = err
}

// Proposals returns how many writes were applied.
func (r *Replicator) Proposals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proposals
}

func (r *Replicator) shortOf(opts []replication.ProposeOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proposals++
	if len(opts) == 0 {
		return nil
	}
	return r.short
}
