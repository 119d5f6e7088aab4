package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/server/operator"
)

// guardedPort is a client port with TLS and the gate of operators, before a node with authentication: root, and ann,
// who may write "a".
func guardedPort(t *testing.T, block TLS) string {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var api *etcdapi.API
	rules := &Operator{AllowedCN: []string{"chief"}}
	gate, audit, err := rules.newGate(quiet, rootLink{func() *etcdapi.API { return api }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { audit.Close() })
	n := etcdapitest.StartWith(t, etcdapi.Options{CommonNames: block.RequireClientCert, Operator: operator.Ruled})
	api = n.API
	users := pb.NewAuthClient(n.Dial(t))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	none := &authpb.UserAddOptions{NoPassword: true}
	for _, err := range []error{
		second(users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r00t"})),
		second(users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "ann", Options: none})),
		second(users.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "writer"})),
		second(users.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "writer",
			Perm: &authpb.Permission{PermType: authpb.Permission_WRITE, Key: []byte("a")}})),
		second(users.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "ann", Role: "writer"})),
		second(users.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})),
		second(users.AuthEnable(ctx, &pb.AuthEnableRequest{})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ports, err := secure(&Config{ClientTLS: block}, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	bound, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	both := sniff(tls.NewListener(bound, ports.client))
	rpc := newRPCServer(append(n.API.ServerOptions(), grpc.ChainUnaryInterceptor(gate.Unary))...)
	n.API.Register(rpc)
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(both.grpc) }()
	t.Cleanup(func() {
		rpc.Stop()
		<-served
	})
	return bound.Addr().String()
}

func second[R any](_ R, err error) error { return err }

// Where all clients have certificates, who shows no token is who his certificate says; a gateway is nobody by its own.
// Where they need not have any, a certificate makes nobody a user.
func TestACertificateIsAUser(t *testing.T) {
	a := newAuthority(t, "clients")
	for _, required := range []bool{true, false} {
		block := a.issue(t, "node")
		block.RequireClientCert = required
		address := guardedPort(t, block)
		for _, one := range []struct {
			name, key string
			headers   []string
			want      string
		}{
			{"ann", "a", nil, ""},
			{"ann", "z", nil, "etcdserver: permission denied"},
			{"root", "z", nil, ""},
			{"bob", "a", nil, "etcdserver: permission denied"},
			{"root", "z", []string{"grpcgateway-accept", "application/json"}, "etcdserver: user name is empty"},
			{"root", "z", []string{"token", "nonsense"}, "etcdserver: invalid auth token"},
		} {
			want := one.want
			if !required && (len(one.headers) == 0 || one.headers[0] != "token") {
				want = "etcdserver: user name is empty"
			}
			ctx, c, done := a.clientOf(t, address, one.name, one.headers)
			_, err := pb.NewKVClient(c).Put(ctx, &pb.PutRequest{Key: []byte(one.key)})
			if text := status.Convert(err).Message(); text != want {
				t.Errorf("required %v, %+v: told %q, want %q", required, one, text, want)
			}
			done()
		}
	}
}

// clientOf connects with a certificate of that name; requests in the context have the headers.
func (a *authority) clientOf(
	t *testing.T, address, name string, headers []string,
) (context.Context, *grpc.ClientConn, func()) {
	t.Helper()
	secure, err := ClientTLSConfig(a.issue(t, name), false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(secure)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	return metadata.AppendToOutgoingContext(ctx, headers...), c, func() {
		cancel()
		c.Close()
	}
}

// What needs the operator's right is for the role root where users and roles are enabled, and refused with the errors
// of etcd, by which its clients know what to do.
func TestRootIsAnOperator(t *testing.T) {
	a := newAuthority(t, "clients")
	block := a.issue(t, "node")
	block.RequireClientCert = true
	address := guardedPort(t, block)
	for _, one := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"root", nil, ""},
		{"ann", nil, "etcdserver: permission denied"},
		{"bob", nil, "etcdserver: user name not found"},
		{"chief", nil, ""},
		{"chief", []string{"token", "nonsense"}, ""},
		{"root", []string{"token", "nonsense"}, "etcdserver: invalid auth token"},
	} {
		ctx, c, done := a.clientOf(t, address, one.name, one.headers)
		_, err := pb.NewMaintenanceClient(c).HashKV(ctx, &pb.HashKVRequest{})
		if text := status.Convert(err).Message(); text != one.want {
			t.Errorf("%s with %v: %q, want %q", one.name, one.headers, text, one.want)
		}
		done()
	}
}
