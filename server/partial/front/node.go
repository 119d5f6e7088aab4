package front

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// Node is a node of a partial region as etcdapi asks for one: it proposes nothing, and has no others.
type Node struct {
	front *Front
	id    uint64
	urls  []string
}

// NewNode returns it. Clients reach it at the URLs.
func NewNode(f *Front, urls []string) *Node {
	s := f.sink.Standing()
	return &Node{front: f, id: replication.MemberID(s.Region, s.Node), urls: urls}
}

// Propose proposes nothing.
func (n *Node) Propose(
	context.Context, []*replication.Command, ...replication.ProposeOption,
) (*replication.Receipt, error) {
	return nil, n.front.unserved
}

// ReadBarrier returns once what is held here may be read, as fresh as l asks.
func (n *Node) ReadBarrier(ctx context.Context, l replication.Level) error {
	if l == replication.Linearizable {
		at, err := n.front.newest(ctx)
		if err != nil {
			return err
		}
		return n.front.arrive(ctx, at)
	}
	if err := n.front.sink.Shown(ctx); err != nil {
		return status.Error(codes.Unavailable, "mimir: partial region: "+err.Error())
	}
	return nil
}

// BeginRead is a ReadBarrier: what the fleet says that it has is as safe as what it acknowledged.
func (n *Node) BeginRead(ctx context.Context) (func(context.Context) error, error) {
	return func(context.Context) error { return nil }, n.ReadBarrier(ctx, replication.Linearizable)
}

// ReadWithin returns once what is held here is no older than age.
func (n *Node) ReadWithin(ctx context.Context, age time.Duration) error {
	s := n.front.sink.Standing()
	if s.Shows && s.LagSeconds >= 0 && s.LagSeconds <= age.Seconds() {
		return nil
	}
	return n.ReadBarrier(ctx, replication.Linearizable)
}

// Ask asks nobody.
func (n *Node) Ask(context.Context, []byte) ([]byte, error) { return nil, n.front.unserved }

// Understood says of no command that it is.
func (n *Node) Understood(context.Context, []byte) error { return n.front.unserved }

// Decided knows of none.
func (n *Node) Decided([]byte) bool { return false }

// Health is that of the one node that it is. Its leader is the source that it follows.
func (n *Node) Health() *replication.HealthStatus {
	s := n.front.sink.Standing()
	h := &replication.HealthStatus{NodeID: s.Node, Region: s.Region, RaftID: n.id, Term: 1,
		AppliedIndex: uint64(s.Revision), CommitIndex: uint64(s.Newest), Problem: s.Problem, Healthy: s.Shows}
	if s.Source != "" {
		h.LeaderRaftID, h.LeaderID = n.id, s.Source
	}
	return h
}

// Members returns this node alone. It is no learner: clients that take their endpoints from the members leave those
// out.
func (n *Node) Members(context.Context) ([]replication.NodeStatus, error) {
	s := n.front.sink.Standing()
	one := replication.NodeStatus{ID: n.id, Name: s.Node, Region: s.Region, ClientURLs: n.urls, Reachable: true}
	return []replication.NodeStatus{one}, nil
}

// OtherMembers returns none.
func (n *Node) OtherMembers() []replication.NodeStatus { return nil }

// TransferLeader is not served.
func (n *Node) TransferLeader(context.Context, uint64) error { return n.front.unserved }

// AddMember is not served.
func (n *Node) AddMember(context.Context, string, string, bool) (replication.NodeStatus, error) {
	return replication.NodeStatus{}, n.front.unserved
}

// RemoveMember is not served.
func (n *Node) RemoveMember(context.Context, uint64) error { return n.front.unserved }

// PromoteMember is not served.
func (n *Node) PromoteMember(context.Context, uint64) error { return n.front.unserved }

// UpdateMember is not served.
func (n *Node) UpdateMember(context.Context, uint64, string) error { return n.front.unserved }
