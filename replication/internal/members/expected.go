package members

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A node that is added by its address alone has no name yet, and so no identity (M2). Its place is held by a learner
// that nobody is: with an identity of the address, no name, and the last bit of the identity set if the node is to vote
// (M7). The node takes the place when it presents itself.

// expectedID is the identity of the place of a node at an address.
func expectedID(region, addr string, votes bool) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00\x00%s", region, addr) // no node has an empty name
	id := max(h.Sum64()&^1, 2)
	if votes {
		id |= 1
	}
	return id
}

// willVote reports whether the node that takes a place is to vote.
func willVote(place uint64) bool { return place&1 == 1 }

// placeAt returns the place that is held for a node at an address.
func (r *Registrar) placeAt(addr string) (place timeline.Member, held bool) {
	learners := r.config.Group.Status().Conf.GetLearners()
	known := r.config.Applied.State().Members
	i := slices.IndexFunc(known, func(m timeline.Member) bool {
		return m.Name == "" && m.PeerAddr == addr && slices.Contains(learners, m.ID)
	})
	if i < 0 {
		return place, false
	}
	return known[i], true
}

// expect holds a place, on the leader, for a node that is at an address: with the care with which a node is added.
func (r *Registrar) expect(ctx context.Context, c change) error {
	c.Do, c.ID = "add", expectedID(r.config.Region, c.PeerAddr, !c.Learner)
	status := r.config.Group.Status()
	for _, id := range slices.Concat(status.Conf.GetVoters(), status.Conf.GetLearners()) {
		if c.PeerAddr != "" && r.config.Directory.Said(id) == c.PeerAddr {
			return fmt.Errorf("%w: %s is the address of a member already", contract.ErrMember, c.PeerAddr)
		}
	}
	c.Name = "the node at " + c.PeerAddr
	if _, err := r.permit(ctx, &c); err != nil {
		return err
	}
	return r.join(ctx, raftpb.ConfChangeType_ConfChangeAddLearnerNode,
		timeline.Member{ID: c.ID, PeerAddr: c.PeerAddr, Learner: true})
}

// join adds a member to the group.
func (r *Registrar) join(ctx context.Context, kind raftpb.ConfChangeType, m timeline.Member) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return asChange(r.config.Group.ChangeMembers(ctx, &raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &m.ID}}, Context: text,
	}))
}

// take gives a place, on the leader, to the node that has come for it: the node is added, and then the place is given
// up. What was broken off in between is ended when the node presents itself again.
func (r *Registrar) take(ctx context.Context, c change) error {
	place, held := r.placeAt(c.PeerAddr)
	switch {
	case !held:
		return nil
	case c.Name == "" || c.ID != RaftID(r.config.Region, c.Name):
		return fmt.Errorf("%w: %d is not the node %q", contract.ErrRejected, c.ID, c.Name)
	}
	conf := r.config.Group.Status().Conf
	if !slices.Contains(conf.GetVoters(), c.ID) && !slices.Contains(conf.GetLearners(), c.ID) {
		c.Do, c.Learner = "add", !willVote(place.ID)
		if err := r.apply(ctx, c); err != nil {
			return err
		}
	}
	if err := r.apply(ctx, change{Do: "remove", ID: place.ID}); err != nil {
		return err
	}
	r.config.Logger.Info("a node that was added by its address has taken its place", slog.String("node", c.Name),
		"address", c.PeerAddr)
	return nil
}

// welcome brings a node that has presented itself to its place.
func (r *Registrar) welcome(ctx context.Context, m timeline.Member) {
	ctx, cancel := context.WithTimeout(ctx, 2*r.config.Timeout) // of which who lives may take one
	defer cancel()
	c := change{Do: "take", ID: m.ID, Name: m.Name, PeerAddr: m.PeerAddr, Clients: m.ClientURLs}
	if err := r.bring(ctx, c); err != nil { // tried again when it presents itself again
		r.config.Logger.Info("a node that was added by its address cannot take its place yet",
			slog.String("node", m.Name), "address", m.PeerAddr, "err", err)
	}
}

// expects has Run welcome a node that presents itself, if a place is held for it.
func (r *Registrar) expects(p Presence) {
	if _, held := r.placeAt(p.Member.PeerAddr); !held || p.Member.Name == "" {
		return
	}
	select {
	case r.come <- p.Member:
	default: // another one is on its way; this one comes again
	}
}

// at returns whom an identity means: who has it, or who has taken the place that had it.
func (r *Registrar) at(id uint64) uint64 {
	for _, s := range r.List() {
		if s.ID == id {
			return id
		}
	}
	for _, s := range r.List() {
		if s.Is(id) {
			return s.ID
		}
	}
	return id
}

// addPlace is Add of a node of which only the address is known.
func (r *Registrar) addPlace(ctx context.Context, peerAddr string, learner bool) (contract.NodeStatus, error) {
	err := r.bring(ctx, change{Do: "expect", PeerAddr: peerAddr, Learner: learner})
	if peer.Kind(err) == contract.ErrRejected {
		err = fmt.Errorf("%w: the leader of region %s is of a version that adds nodes by their names alone: %w",
			contract.ErrOldNode, r.config.Region, err)
	}
	return contract.NodeStatus{
		ID: expectedID(r.config.Region, peerAddr, !learner), Region: r.config.Region, PeerAddr: peerAddr,
		Learner: true, Expected: true, WillVote: !learner,
	}, err
}
