package etcdapitest

import (
	"context"
	"slices"

	"github.com/mimir-kv/mimir/replication"
)

// Members returns the members.
func (r *Replicator) Members(context.Context) ([]replication.NodeStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late != nil {
		return slices.Clone(r.late), r.fail
	}
	return slices.Clone(r.members), r.fail
}

// HearNoMore has Members say what it says now, whatever is changed, as a node does that has not heard of it yet.
func (r *Replicator) HearNoMore() {
	late, _ := r.Members(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = late
}

// OtherMembers returns one node of another region.
func (r *Replicator) OtherMembers() []replication.NodeStatus {
	return []replication.NodeStatus{{
		ID: 1 << 60, Name: "test-1", Region: "other", PeerAddr: "127.0.0.2:2380",
		ClientURLs: []string{"http://127.0.0.2:2379"},
	}}
}

// AddMember adds a member that never comes.
func (r *Replicator) AddMember(_ context.Context, name, peerAddr string, learner bool) (replication.NodeStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return replication.NodeStatus{}, r.refuse
	}
	added := replication.NodeStatus{
		ID: uint64(len(r.members) + 1), Name: name, Region: "test", PeerAddr: peerAddr, Learner: learner,
	}
	if name == "" {
		added.Learner, added.Expected, added.WillVote = true, true, !learner
	}
	r.members = append(r.members, added)
	return added, r.fail
}

// RemoveMember removes a member.
func (r *Replicator) RemoveMember(_ context.Context, id uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	kept := r.members[:0:0]
	for _, m := range r.members {
		if m.ID != id {
			kept = append(kept, m)
		}
	}
	r.members = kept
	return r.fail
}

// PromoteMember makes a voter of a learner.
func (r *Replicator) PromoteMember(_ context.Context, id uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	for i := range r.members {
		if r.members[i].ID == id {
			r.members[i].Learner = false
		}
	}
	return r.fail
}

// UpdateMember changes the address of a member.
func (r *Replicator) UpdateMember(_ context.Context, id uint64, peerAddr string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	for i := range r.members {
		if r.members[i].ID == id {
			r.members[i].PeerAddr = peerAddr
		}
	}
	return r.fail
}
