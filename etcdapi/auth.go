package etcdapi

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// authMethods begins the full names of the service's methods.
const authMethods = "/etcdserverpb.Auth/"

var errNoAuthentication = status.Error(codes.Unimplemented,
	"mimir: users and roles of etcd are not offered; use TLS client certificates to admit clients")

// authServer says that authentication is off. Everything that would administer users or roles is Unimplemented, by
// embedding; the interceptor says so in words.
type authServer struct {
	pb.UnimplementedAuthServer
	*API
}

// AuthStatus says disabled.
func (s *authServer) AuthStatus(context.Context, *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	return &pb.AuthStatusResponse{Header: s.header(s.store.Revision()), AuthRevision: 1}, nil
}

// Authenticate refuses as an etcd without authentication does: clientv3 then goes on without a token.
func (s *authServer) Authenticate(context.Context, *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	return nil, rpctypes.ErrGRPCAuthNotEnabled
}
