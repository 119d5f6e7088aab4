package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// learnerEntries is how many entries of the log a learner may lack when it is promoted.
const learnerEntries = 5_000

// memberChange is a change of a region's membership on its way to the leader.
type memberChange struct {
	Do       string   `json:"do"` // add, promote, remove
	ID       uint64   `json:"id,omitempty"`
	Name     string   `json:"name,omitempty"`
	PeerAddr string   `json:"peer,omitempty"`
	Clients  []string `json:"clients,omitempty"`
	Learner  bool     `json:"learner,omitempty"`
}

// Members returns the nodes of this region, as its log says.
func (n *node) Members(context.Context) ([]NodeStatus, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	return n.nodeStatuses(n.group.Status()), nil
}

// AddMember adds a node to this region, as a voter or as a learner that receives everything and does not vote. The node is then
// started with Config.Join. Any node of the region takes the call.
func (n *node) AddMember(ctx context.Context, name, peerAddr string, learner bool) (NodeStatus, error) {
	id := members.RaftID(n.config.RegionID, name)
	err := n.memberCall(ctx, memberChange{Do: "add", ID: id, Name: name, PeerAddr: peerAddr, Learner: learner})
	return NodeStatus{ID: id, Name: name, Region: n.config.RegionID, PeerAddr: peerAddr, Learner: learner}, err
}

// RemoveMember removes a node from this region. It can only come back under another name.
func (n *node) RemoveMember(ctx context.Context, id uint64) error {
	return n.memberCall(ctx, memberChange{Do: "remove", ID: id})
}

// PromoteMember makes a learner a voter. ErrLearnerBehind if it has not caught up.
func (n *node) PromoteMember(ctx context.Context, id uint64) error {
	return n.memberCall(ctx, memberChange{Do: "promote", ID: id})
}

// TransferLeader makes the member with this Raft identity the leader of the region. Only the leader can: ErrNotLeader elsewhere.
func (n *node) TransferLeader(ctx context.Context, to uint64) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	err := n.group.TransferLeader(ctx, to)
	if errors.Is(err, raftgroup.ErrNotLeader) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}

func (n *node) memberCall(ctx context.Context, c memberChange) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	if _, leads := n.leadership.Term(); leads {
		return n.changeMembers(ctx, c)
	}
	addr := n.directory.LeaderAddr()
	if addr == "" {
		return fmt.Errorf("%w: region %s has no leader", ErrNotReady, n.config.RegionID)
	}
	return ask(ctx, n, addr, askMembers, c)
}

// changeMembers runs on the leader.
func (n *node) changeMembers(ctx context.Context, c memberChange) error {
	status := n.group.Status()
	conf, progress := status.Conf, status.Progress[c.ID]
	voter, learner := slices.Contains(conf.GetVoters(), c.ID), slices.Contains(conf.GetLearners(), c.ID)
	kind := raftpb.ConfChangeType_ConfChangeAddNode
	switch {
	case c.Do == "add" && (voter || learner):
		return fmt.Errorf("%w: %s is a member already", ErrMember, c.Name)
	case c.Do == "add" && (c.Name == "" || c.PeerAddr == ""):
		return fmt.Errorf("%w: a name and a peer address are needed", ErrMember)
	case c.Do == "add" && c.Learner:
		kind = raftpb.ConfChangeType_ConfChangeAddLearnerNode
	case c.Do == "promote" && !learner:
		return fmt.Errorf("%w: %d is not a learner", ErrMember, c.ID)
	case c.Do == "promote" && (!progress.Active || progress.Match+learnerEntries < status.Commit || progress.Match == 0):
		return fmt.Errorf("%w: it has entries up to %d of %d", ErrLearnerBehind, progress.Match, status.Commit)
	case c.Do == "remove" && !voter && !learner:
		return fmt.Errorf("%w: %d is not a member", ErrMember, c.ID)
	case c.Do == "remove" && voter && len(conf.GetVoters()) == 1:
		return fmt.Errorf("%w: the last voter cannot be removed", ErrMember)
	case c.Do == "remove":
		kind = raftpb.ConfChangeType_ConfChangeRemoveNode
	}
	cc := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &c.ID}}}
	if c.Do == "add" {
		m := timeline.Member{ID: c.ID, Name: c.Name, PeerAddr: c.PeerAddr, ClientURLs: c.Clients, Learner: c.Learner}
		description, err := json.Marshal(m)
		if err != nil {
			return err
		}
		cc.Context = description
	}
	err := n.group.ChangeMembers(ctx, cc)
	if errors.Is(err, raftgroup.ErrNotLeader) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}

// publication is a node describing itself to its region.
type publication struct {
	Member timeline.Member `json:"member"`
}

// describeSelf publishes this node's addresses to its region if they are not there, or have changed.
func (n *node) describeSelf(ctx context.Context) {
	s := &n.applied.View().State
	i := slices.IndexFunc(s.Members, func(m timeline.Member) bool { return m.ID == n.id })
	if i >= 0 {
		if m := s.Members[i]; m.PeerAddr == n.config.PeerAddr && slices.Equal(m.ClientURLs, n.config.ClientURLs) && m.Name == n.config.NodeID {
			return
		}
	}
	m := timeline.Member{ID: n.id, Name: n.config.NodeID, PeerAddr: n.config.PeerAddr, ClientURLs: n.config.ClientURLs, Since: n.config.Clock.Now().UTC()}
	if i >= 0 {
		m.Learner = s.Members[i].Learner
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.callTimeout())
	defer cancel()
	if _, leads := n.leadership.Term(); leads {
		_ = n.publishMember(ctx, publication{m}) // tried again at the next turn
	} else if addr := n.directory.LeaderAddr(); addr != "" {
		_ = ask(ctx, n, addr, askPublish, publication{m}) // likewise
	}
}

// publishMember writes a node's description to the region's log; only the leader can. A node that was removed and still runs is refused.
func (n *node) publishMember(ctx context.Context, p publication) error {
	if conf := n.group.Status().Conf; !slices.Contains(conf.GetVoters(), p.Member.ID) && !slices.Contains(conf.GetLearners(), p.Member.ID) {
		return fmt.Errorf("%w: %s is not a member", ErrMember, p.Member.Name)
	}
	_, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpMember, Member: &p.Member})
	return err
}
