package replication

import "context"

// Members returns the nodes of this region, as its log says.
func (n *node) Members(context.Context) ([]NodeStatus, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	return n.members.List(), nil
}

// AddMember adds a node to this region.
func (n *node) AddMember(ctx context.Context, name, peerAddr string, learner bool) (NodeStatus, error) {
	if err := n.life.Err(); err != nil {
		return NodeStatus{}, err
	}
	return n.members.Add(ctx, name, peerAddr, learner)
}

// RemoveMember removes a node from this region.
func (n *node) RemoveMember(ctx context.Context, id uint64) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.members.Remove(ctx, id)
}

// PromoteMember makes a learner a voter.
func (n *node) PromoteMember(ctx context.Context, id uint64) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.members.Promote(ctx, id)
}

// TransferLeader makes the member with this Raft identity the leader of the region.
func (n *node) TransferLeader(ctx context.Context, to uint64) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.members.Transfer(ctx, to)
}
