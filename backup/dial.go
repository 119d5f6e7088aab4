package backup

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// targetScheme has an endpoint be taken as it is.
const targetScheme = "passthrough:///"

// ErrClear says that somebody would show who he is to all that listen.
var ErrClear = errors.New("it has no TLS, which was asked for, and neither a password nor a token is sent there")

// Who says as whom a node is asked. All fields may be empty.
type Who struct {
	User, Password string
	Token          string // of an operator
}

// Dial returns a connection to the node at endpoint, host:port or a URL, with TLS if secure is not nil or the URL says
// so; unix:///path and unixs:///path are sockets of this machine. Where a URL says that there is none, although secure
// is not nil, nothing is shown but to a socket: ErrClear. A node that does not
// answer is given up after Patience. The caller closes the connection.
func Dial(ctx context.Context, endpoint string, secure *tls.Config, who Who) (*grpc.ClientConn, error) {
	scheme, host, found := strings.Cut(strings.TrimRight(endpoint, "/"), "://")
	if !found {
		scheme, host = "", scheme
	}
	if (scheme == "https" || scheme == "unixs") && secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if scheme == "http" && secure != nil && who != (Who{}) {
		return nil, fmt.Errorf("%s: %w", endpoint, ErrClear)
	}
	wire := insecure.NewCredentials()
	if secure != nil && scheme != "http" && scheme != "unix" {
		wire = credentials.NewTLS(secure)
	}
	target := targetScheme + host
	if scheme == "unix" || scheme == "unixs" {
		target = "unix://" + host
	}
	own := &shown{}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(wire),
		grpc.WithPerRPCCredentials(own))
	if err != nil {
		return nil, err
	}
	if who.User != "" {
		patient, enough := context.WithTimeoutCause(ctx, Patience, ErrSilent)
		defer enough()
		r, err := pb.NewAuthClient(conn).Authenticate(patient,
			&pb.AuthenticateRequest{Name: who.User, Password: who.Password})
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("log in as %s at %s: %w", who.User, endpoint, ended(patient, err))
		}
		own.login = r.Token
	}
	own.operator = who.Token
	return conn, nil
}

// shown is what goes with every request. Nothing is asked at the same time as it changes.
type shown struct{ login, operator string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (s *shown) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	md := map[string]string{}
	if s.login != "" {
		md[rpctypes.TokenFieldNameGRPC] = s.login
	}
	if s.operator != "" {
		md["authorization"] = "Bearer " + s.operator
	}
	return md, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (*shown) RequireTransportSecurity() bool { return false }
