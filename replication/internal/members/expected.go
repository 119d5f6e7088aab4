package members

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
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

// isPlace reports whether a learner is the place of a node that did not come yet, and no node: none is known by name
// to anybody, has said a word, or is this one.
func (r *Registrar) isPlace(m *timeline.Member) bool {
	d := r.config.Directory
	return m.ID != r.config.Self.ID && d.Name(m.ID) == "" && max(m.Starts, d.heardStarts(m.ID)) == 0
}

// onlyOnes returns which places only one of the nodes had or is: an address may be expected again and again, and an
// identity that could mean several means none of them.
func onlyOnes(known map[uint64]contract.NodeStatus) map[uint64]bool {
	alone := map[uint64]bool{}
	for _, s := range known {
		_, again := alone[s.PlaceID]
		_, is := known[s.PlaceID]
		alone[s.PlaceID] = !again && !is
	}
	return alone
}

// placeAt returns the place that is held at an address for the node that has this identity.
func (r *Registrar) placeAt(addr string, id uint64) (place timeline.Member, held bool) {
	learners := r.config.Group.Status().Conf.GetLearners()
	known := r.config.Applied.State().Members
	i := slices.IndexFunc(known, func(m timeline.Member) bool {
		return m.PeerAddr == addr && m.ID != id && slices.Contains(learners, m.ID) && r.isPlace(&m)
	})
	if i < 0 {
		return place, false
	}
	return known[i], true
}

// holds reports whether the place is held still that a node is to take.
func (r *Registrar) holds(c change) bool {
	place, held := r.placeAt(c.PeerAddr, c.ID)
	return held && place.ID == c.place
}

// expect holds a place, on the leader, for a node that is at an address: with the care with which a node is added. Its
// error is as of attempt.
func (r *Registrar) expect(ctx context.Context, c change) error {
	c.Do, c.ID = "add", expectedID(r.config.Region, c.PeerAddr, !c.Learner)
	c.Name = "the node at " + c.PeerAddr
	_, on, err := r.permit(ctx, &c)
	if err != nil {
		return err
	}
	status := r.config.Group.Status()
	for _, id := range slices.Concat(status.Conf.GetVoters(), status.Conf.GetLearners()) {
		if c.PeerAddr != "" && r.config.Directory.Said(id) == c.PeerAddr {
			return fmt.Errorf("%w: %s is the address of a member already", contract.ErrMember, c.PeerAddr)
		}
	}
	return r.join(ctx, on, raftpb.ConfChangeType_ConfChangeAddLearnerNode,
		timeline.Member{ID: c.ID, PeerAddr: c.PeerAddr, Learner: true})
}

// join adds a member to the group.
func (r *Registrar) join(ctx context.Context, on raftgroup.Basis, kind raftpb.ConfChangeType, m timeline.Member) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return asChange(r.config.Group.ChangeMembers(ctx, on, &raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &m.ID}}, Context: text,
	}))
}

// take gives a place, on the leader, to the node that has come for it: the node is added, and then the place is given
// up. What was broken off in between is ended when the node presents itself again.
func (r *Registrar) take(ctx context.Context, c change) error {
	select {
	case r.taking <- struct{}{}:
		defer func() { <-r.taking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	place, held := r.placeAt(c.PeerAddr, c.ID)
	switch {
	case !held:
		return nil
	case c.Name == "" || c.ID != RaftID(r.config.Region, c.Name):
		return fmt.Errorf("%w: %d is not the node %q", contract.ErrRejected, c.ID, c.Name)
	}
	if err := r.isThere(ctx, c); err != nil {
		return err
	}
	conf := r.config.Group.Status().Conf
	if !slices.Contains(conf.GetVoters(), c.ID) && !slices.Contains(conf.GetLearners(), c.ID) {
		c.Do, c.Learner, c.place = "add", !timeline.PlaceVotes(place.ID), place.ID
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

// isThere asks back at its address whether a node is there: that it is was its own word, or another's, and a voter that
// is not reached could cost the region its quorum.
func (r *Registrar) isThere(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	there, err := Present(ctx, r.config.Client, c.PeerAddr, r.presence(0))
	switch {
	case err != nil:
		return fmt.Errorf("%w: node %s is not found at %s: %w", contract.ErrNotReady, c.Name, c.PeerAddr, err)
	case there.Self.ID != c.ID:
		return fmt.Errorf("%w: node %s is not found at %s: node %s is there", contract.ErrNotReady, c.Name, c.PeerAddr,
			there.Self.Name)
	}
	return nil
}

// welcome brings a node that has presented itself to its place.
func (r *Registrar) welcome(ctx context.Context, m timeline.Member) {
	ctx, cancel := context.WithTimeout(ctx, 3*r.config.Timeout) // where it is and who lives may take one each
	defer cancel()
	c := change{Do: "take", ID: m.ID, Name: m.Name, PeerAddr: m.PeerAddr, Clients: m.ClientURLs}
	if err := r.bring(ctx, c); err != nil && !r.taken(c, err) { // tried again when it presents itself again
		r.config.Logger.Info("a node that was added by its address cannot take its place yet",
			slog.String("node", m.Name), "address", m.PeerAddr, "err", err)
	}
}

// taken reports whether a change is refused because it was made: somebody else brought it, and the place is gone.
func (r *Registrar) taken(c change, err error) bool {
	_, held := r.placeAt(c.PeerAddr, c.ID)
	return !held && errors.Is(err, contract.ErrMember)
}

// expects has Run welcome a node that presents itself, if a place is held for it.
func (r *Registrar) expects(p Presence) {
	if _, held := r.placeAt(p.Member.PeerAddr, p.Member.ID); !held || p.Member.Name == "" {
		return
	}
	select {
	case r.come <- p.Member:
	default: // another one is on its way; this one comes again
	}
}

// at returns whom an identity means: who has it, or who has taken the place that had it.
func (r *Registrar) at(id uint64) uint64 {
	list := r.List()
	if slices.ContainsFunc(list, func(s contract.NodeStatus) bool { return s.ID == id }) {
		return id
	}
	for _, s := range list {
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
