package compat

import (
	"context"
	"errors"
	"io"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// tokens are what both sides have given to a user that logged in, or the same nonsense for both.
type tokens struct{ user, etcd, mimir string }

// String names the user, for histories.
func (t *tokens) String() string {
	if t == nil {
		return "nobody"
	}
	return t.user
}

// at returns a context with the token of a side.
func (t *tokens) at(s *side, ctx context.Context) context.Context {
	switch {
	case t == nil:
		return ctx
	case strings.HasPrefix(s.name, "mimir"):
		return metadata.AppendToOutgoingContext(ctx, "token", t.mimir)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+t.etcd)
}

// given takes the tokens out of two answers, if they have any.
func given(etcd, mimir answer) *tokens {
	a, ok := etcd.response.(*pb.AuthenticateResponse)
	b, both := mimir.response.(*pb.AuthenticateResponse)
	if !ok || !both || a.Token == "" || b.Token == "" {
		return nil
	}
	t := &tokens{etcd: a.Token, mimir: b.Token}
	a.Token, b.Token = "", ""
	return t
}

// watchOnce is a request to create a watch on a stream of its own, of which only the first answer counts.
type watchOnce struct{ *pb.WatchCreateRequest }

func (s *side) sendAuth(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *pb.AuthEnableRequest:
		return s.auth.AuthEnable(ctx, r)
	case *pb.AuthDisableRequest:
		return s.auth.AuthDisable(ctx, r)
	case *pb.AuthStatusRequest:
		return s.auth.AuthStatus(ctx, r)
	case *pb.AuthenticateRequest:
		return s.auth.Authenticate(ctx, r)
	case *pb.AuthUserAddRequest:
		return s.auth.UserAdd(ctx, r)
	case *pb.AuthUserGetRequest:
		return s.auth.UserGet(ctx, r)
	case *pb.AuthUserListRequest:
		return s.auth.UserList(ctx, r)
	case *pb.AuthUserDeleteRequest:
		return s.auth.UserDelete(ctx, r)
	case *pb.AuthUserChangePasswordRequest:
		return s.auth.UserChangePassword(ctx, r)
	case *pb.AuthUserGrantRoleRequest:
		return s.auth.UserGrantRole(ctx, r)
	case *pb.AuthUserRevokeRoleRequest:
		return s.auth.UserRevokeRole(ctx, r)
	case *pb.AuthRoleAddRequest:
		return s.auth.RoleAdd(ctx, r)
	case *pb.AuthRoleGetRequest:
		return s.auth.RoleGet(ctx, r)
	case *pb.AuthRoleListRequest:
		return s.auth.RoleList(ctx, r)
	case *pb.AuthRoleDeleteRequest:
		return s.auth.RoleDelete(ctx, r)
	case *pb.AuthRoleGrantPermissionRequest:
		return s.auth.RoleGrantPermission(ctx, r)
	case *pb.AuthRoleRevokePermissionRequest:
		return s.auth.RoleRevokePermission(ctx, r)
	case *pb.AlarmRequest:
		return s.maintain.Alarm(ctx, r)
	case watchOnce:
		return s.watchOnce(ctx, r.WatchCreateRequest)
	}
	return s.sendMaintenance(ctx, request)
}

// sendMaintenance answers with nothing of what is each node's own.
func (s *side) sendMaintenance(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *pb.StatusRequest:
		_, err := s.maintain.Status(ctx, r)
		return &pb.StatusResponse{}, err
	case *pb.MemberListRequest:
		_, err := s.cluster.MemberList(ctx, r)
		return &pb.MemberListResponse{}, err
	case *pb.SnapshotRequest:
		stream, err := s.maintain.Snapshot(ctx, r)
		for err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return &pb.SnapshotResponse{}, err
	case *pb.DefragmentRequest:
		return s.maintain.Defragment(ctx, r)
	case *pb.MoveLeaderRequest:
		return s.maintain.MoveLeader(ctx, r)
	case *pb.DowngradeRequest:
		return s.maintain.Downgrade(ctx, r)
	}
	return nil, errors.New("compat: no such request")
}

func (s *side) watchOnce(ctx context.Context, r *pb.WatchCreateRequest) (proto.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	create := &pb.WatchRequest_CreateRequest{CreateRequest: r}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: create}); err != nil {
		return nil, err
	}
	return stream.Recv()
}
