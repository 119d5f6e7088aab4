package etcdapi

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// clusterServer shows the nodes of this region as etcd shows members, and changes them for whoever may by what the
// primary says of him.
type clusterServer struct {
	pb.UnimplementedClusterServer
	*API
}

// Cluster returns the Cluster service.
func (a *API) Cluster() pb.ClusterServer { return &clusterServer{API: a} }

// MemberList lists the nodes of this region and, if it was made so, those of the other regions that were heard of: they
// have the names of their regions before their own.
func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if _, err := s.permitted(ctx, isSomebody); err != nil {
		return nil, err
	}
	if r.Linearizable {
		if err := s.barrier(ctx); err != nil {
			return nil, err
		}
	}
	members, err := s.members(ctx)
	if err != nil {
		return nil, err
	}
	if s.allRegions {
		for _, n := range s.replicator.OtherMembers() {
			n.Name = n.Region + "/" + n.Name
			members = append(members, s.member(&n))
		}
	}
	return &pb.MemberListResponse{Header: s.header(0), Members: members}, nil
}

// MemberAdd adds a node. etcd's request has no field for a name, by which Mimir knows a node: it may stand before the
// address, as in http://NAME@HOST:PORT. Without it the node says it when it comes, and has another ID from then on; the
// one that is told here goes on meaning it.
func (s *clusterServer) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	if err := s.mustOrder(ctx); err != nil {
		return nil, err
	}
	name, address, err := peer(r.PeerURLs)
	if err != nil && err != errNoName {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	nodes, err := s.replicator.Members(bounded)
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	for i := range nodes {
		switch {
		case name != "" && nodes[i].Name == name:
			return nil, rpctypes.ErrGRPCMemberExist
		case nodes[i].PeerAddr == address:
			return nil, rpctypes.ErrGRPCPeerURLExist
		}
	}
	added, err := s.replicator.AddMember(bounded, name, address, r.IsLearner)
	switch { // by the leader's picture, which is newer than this node's
	case errors.Is(err, replication.ErrMember) && name == "":
		return nil, rpctypes.ErrGRPCPeerURLExist
	case errors.Is(err, replication.ErrMember):
		return nil, rpctypes.ErrGRPCMemberExist
	case errors.Is(err, replication.ErrOldNode):
		return nil, errNoName
	case err != nil:
		return nil, s.statusOf(ctx, err)
	}
	members, err := s.members(ctx)
	if err != nil {
		return nil, err
	}
	member := s.member(&added)
	there := func(m *pb.Member) bool { return m.ID == member.ID || slices.Equal(m.PeerURLs, member.PeerURLs) }
	if !slices.ContainsFunc(members, there) {
		members = append(members, member) // the leader has made it, and this node has not heard of it yet
	}
	return &pb.MemberAddResponse{Header: s.header(0), Member: member, Members: members}, nil
}

// MemberRemove removes a node.
func (s *clusterServer) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	if err := s.mustOrder(ctx); err != nil {
		return nil, err
	}
	id, members, err := s.change(ctx, r.ID, s.replicator.RemoveMember, nil)
	if err != nil {
		return nil, err
	}
	members = slices.DeleteFunc(members, func(m *pb.Member) bool { return m.ID == id })
	return &pb.MemberRemoveResponse{Header: s.header(0), Members: members}, nil
}

// MemberPromote makes a voter of a learner.
func (s *clusterServer) MemberPromote(
	ctx context.Context, r *pb.MemberPromoteRequest,
) (*pb.MemberPromoteResponse, error) {
	if err := s.mustOrder(ctx); err != nil {
		return nil, err
	}
	promote := func(ctx context.Context, id uint64) error {
		err := s.replicator.PromoteMember(ctx, id)
		if errors.Is(err, replication.ErrMember) && s.isMember(ctx, id) { // promoted a moment ago
			return rpctypes.ErrGRPCMemberNotLearner
		}
		return err
	}
	id, members, err := s.change(ctx, r.ID, promote, func(n *replication.NodeStatus) error {
		if !n.Learner || n.WillVote {
			return rpctypes.ErrGRPCMemberNotLearner
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		m.IsLearner = m.IsLearner && m.ID != id
	}
	return &pb.MemberPromoteResponse{Header: s.header(0), Members: members}, nil
}

// MemberUpdate changes where a node is reached, for the others to find it, until the node says so itself at its next
// start. A name before the address has to be the node's.
func (s *clusterServer) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	if err := s.mustOrder(ctx); err != nil {
		return nil, err
	}
	name, address, err := peer(r.PeerURLs)
	if err != nil && err != errNoName {
		return nil, err
	}
	nodes, err := s.replicator.Members(ctx)
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	for i := range nodes {
		switch n := &nodes[i]; {
		case n.Is(r.ID) && name != "" && name != n.Name:
			return nil, rpctypes.ErrGRPCMemberBadURLs
		case !n.Is(r.ID) && n.PeerAddr == address:
			return nil, rpctypes.ErrGRPCPeerURLExist
		}
	}
	update := func(ctx context.Context, id uint64) error { return s.replicator.UpdateMember(ctx, id, address) }
	id, members, err := s.change(ctx, r.ID, update, nil)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.ID == id {
			m.PeerURLs = s.member(&replication.NodeStatus{PeerAddr: address}).PeerURLs
		}
	}
	return &pb.MemberUpdateResponse{Header: s.header(0), Members: members}, nil
}

// change applies one change to a member that exists and that allow, unless it is nil, has nothing against; that whoever
// asks may is known. It returns the ID that the member has here, and the members as this node knows them then: the
// leader has made the change, and this node may not have heard of it.
func (s *clusterServer) change(
	ctx context.Context, id uint64, apply func(context.Context, uint64) error,
	allow func(*replication.NodeStatus) error,
) (uint64, []*pb.Member, error) {
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	nodes, err := s.replicator.Members(bounded)
	if err != nil {
		return 0, nil, s.statusOf(ctx, err)
	}
	node := nodeOf(nodes, id)
	if i := slices.IndexFunc(nodes, func(n replication.NodeStatus) bool { return n.Is(id) }); node == nil && i >= 0 {
		node, id = &nodes[i], nodes[i].ID
	}
	if other := nodeOf(s.replicator.OtherMembers(), id); node == nil && other != nil {
		return 0, nil, status.Errorf(codes.FailedPrecondition,
			"mimir: %x is node %s of region %s, and members are changed at a node of their own region: %s", id,
			other.Name, other.Region, strings.Join(other.ClientURLs, ","))
	}
	if node == nil {
		return 0, nil, rpctypes.ErrGRPCMemberNotFound
	}
	if allow != nil {
		if err := allow(node); err != nil {
			return 0, nil, err
		}
	}
	if err := apply(bounded, id); errors.Is(err, replication.ErrMember) {
		return 0, nil, s.refusal(bounded, id, err)
	} else if err != nil {
		return 0, nil, s.statusOf(ctx, err)
	}
	members, err := s.members(ctx)
	return id, members, err
}

func (s *clusterServer) isMember(ctx context.Context, id uint64) bool {
	nodes, err := s.replicator.Members(ctx)
	return err == nil && nodeOf(nodes, id) != nil
}

// refusal says in etcd's words why the leader cannot make a change of a member that this node knew a moment ago: by the
// members as they are by now.
func (s *clusterServer) refusal(ctx context.Context, id uint64, refused error) error {
	nodes, err := s.replicator.Members(ctx)
	if err != nil {
		return s.statusOf(ctx, refused)
	}
	voters := 0
	for _, n := range nodes {
		if !n.Learner {
			voters++
		}
	}
	switch n := nodeOf(nodes, id); {
	case n == nil:
		return rpctypes.ErrGRPCMemberNotFound
	case !n.Learner && voters == 1:
		return rpctypes.ErrGRPCMemberNotEnoughStarted
	default:
		return status.Error(codes.FailedPrecondition, "mimir: "+refused.Error())
	}
}

func (s *clusterServer) members(ctx context.Context) ([]*pb.Member, error) {
	nodes, err := s.replicator.Members(ctx)
	if err != nil {
		return nil, s.statusOf(ctx, err)
	}
	members := make([]*pb.Member, 0, len(nodes))
	for i := range nodes {
		members = append(members, s.member(&nodes[i]))
	}
	return members, nil
}

func (s *clusterServer) member(n *replication.NodeStatus) *pb.Member {
	scheme := "http"
	if s.peerTLS {
		scheme = "https"
	}
	return &pb.Member{
		ID:         n.ID,
		Name:       n.Name,
		PeerURLs:   []string{scheme + "://" + n.PeerAddr},
		ClientURLs: n.ClientURLs,
		IsLearner:  n.Learner && !n.WillVote,
	}
}

// errNoName says how to give a name to a new node, where it cannot be added without one.
var errNoName = status.Error(codes.FailedPrecondition, "mimir: the leader of the region is of a version that does not "+
	"add a node by its address alone: give its peer URL as http://NAME@HOST:PORT")

// errImpossibleChange says that the members are not those for which a change was asked.
var errImpossibleChange = status.Error(codes.FailedPrecondition,
	"mimir: the change makes no sense for the members as they are: see etcdctl member list")

// errNameUsed says that a node of this name was there before.
var errNameUsed = status.Error(codes.FailedPrecondition,
	"mimir: a node of this name was removed from the region, and a name is not used twice: add it under another")

// peer returns the name and the address in the one peer URL that a node has; the address with errNoName too.
func peer(urls []string) (name, address string, err error) {
	if len(urls) != 1 {
		return "", "", rpctypes.ErrGRPCMemberBadURLs
	}
	u, err := url.Parse(urls[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" {
		return "", "", rpctypes.ErrGRPCMemberBadURLs
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return "", "", rpctypes.ErrGRPCMemberBadURLs
	}
	if u.User.Username() == "" {
		return "", u.Host, errNoName
	}
	return u.User.Username(), u.Host, nil
}
