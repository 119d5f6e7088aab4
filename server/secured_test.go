package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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

// guardedPort is a client port with TLS and the gate of operators, before a node with authentication: root, ann, who
// may write "a", and ben, who may nothing.
func guardedPort(t *testing.T, block TLS) string {
	t.Helper()
	return guardedPortThatTells(t, block, "")
}

// guardedNode is what guardedPort is before, and its gate, with an audit log.
func guardedNode(t *testing.T, certificates bool, auditLog string) (*operator.Gate, *etcdapitest.Node) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var api *etcdapi.API
	rules := &Operator{AllowedCN: []string{"chief"}, AuditLog: auditLog}
	gate, audit, err := rules.newGate(quiet, rootLink{func() *etcdapi.API { return api }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { audit.Close() })
	n := etcdapitest.StartWith(t, etcdapi.Options{CommonNames: certificates, Operator: operator.Ruled})
	api = n.API
	users := pb.NewAuthClient(n.Dial(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	none := &authpb.UserAddOptions{NoPassword: true}
	for _, err := range []error{
		second(users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "r00t"})),
		second(users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "ann", Options: none})),
		second(users.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "ben", Password: "b3n"})),
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
	return gate, n
}

// guardedPortThatTells is guardedPort with an audit log.
func guardedPortThatTells(t *testing.T, block TLS, auditLog string) string {
	t.Helper()
	gate, n := guardedNode(t, block.RequireClientCert, auditLog)
	ports, err := secure(&Config{ClientTLS: block}, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	bound, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	both := sniff(tls.NewListener(bound, ports.client))
	rpc, _ := newRPCServer(usualKeepalive, append(n.API.ServerOptions(), grpc.ChainUnaryInterceptor(gate.Unary))...)
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
	log := filepath.Join(t.TempDir(), "audit.log")
	address := guardedPortThatTells(t, block, log)
	root, ben := tokenOf(t, a, address, "root", "r00t"), tokenOf(t, a, address, "ben", "b3n")
	for i, one := range []struct {
		name, token string
		want        string
		told        string
	}{
		{"root", "", "", "done user root CN=root"},
		{"ann", "", "etcdserver: permission denied", "refused user ann CN=ann"},
		{"bob", "", "etcdserver: user name not found", "refused user bob CN=bob"},
		{"chief", "", "", "done certificate CN=chief CN=chief"},
		{"chief", "nonsense", "", "done certificate CN=chief CN=chief"},
		{"root", "nonsense", "etcdserver: invalid auth token", "refused  CN=root"},
		{"ann", root, "", "done user root CN=ann"},
		{"root", ben, "etcdserver: permission denied", "refused user ben CN=root"},
	} {
		var headers []string
		if one.token != "" {
			headers = []string{"token", one.token}
		}
		ctx, c, done := a.clientOf(t, address, one.name, headers)
		var err error
		if i%2 == 0 { // of one call three refusals are told in ten seconds
			_, err = pb.NewMaintenanceClient(c).Hash(ctx, &pb.HashRequest{})
		} else {
			_, err = pb.NewMaintenanceClient(c).HashKV(ctx, &pb.HashKVRequest{})
		}
		if text := status.Convert(err).Message(); text != one.want {
			t.Errorf("%s with %q: %q, want %q", one.name, one.token, text, one.want)
		}
		done()
		if told := lastTold(t, log); told != one.told {
			t.Errorf("%s with %q: told %q, want %q", one.name, one.token, told, one.told)
		}
	}
}

// A certificate that somebody shows at listen-http, whose authorities are others, is that of an operator where a rule
// says so, and never that of a user: a scraper is not root, whatever its certificate calls it.
func TestACertificateOfListenHTTPIsNoUser(t *testing.T) {
	gate, _ := guardedNode(t, true, "")
	r := &routes{api: http.NotFoundHandler(), admin: http.NotFoundHandler(), registry: prometheus.NewRegistry(),
		guard: gate.HTTP}
	for _, test := range []struct {
		name string
		want [2]int // at the port for clients, and at the other
	}{{"root", [2]int{200, 403}}, {"chief", [2]int{200, 200}}, {"ann", [2]int{403, 403}}} {
		shown := &x509.Certificate{Subject: pkix.Name{CommonName: test.name}, SerialNumber: big.NewInt(1)}
		for i, h := range []http.Handler{r.client(true), r.private(true, true)} {
			w, call := httptest.NewRecorder(), httptest.NewRequest("GET", "/debug/vars", nil)
			call.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown},
				VerifiedChains: [][]*x509.Certificate{{shown}}}
			if h.ServeHTTP(w, call); w.Code != test.want[i] {
				t.Errorf("%s: %d, want %d: %s", test.name, w.Code, test.want[i], w.Body)
			}
		}
	}
}

// tokenOf logs a user in.
func tokenOf(t *testing.T, a *authority, address, user, password string) string {
	t.Helper()
	ctx, c, done := a.clientOf(t, address, "somebody", nil)
	defer done()
	r, err := pb.NewAuthClient(c).Authenticate(ctx, &pb.AuthenticateRequest{Name: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return r.Token
}

// lastTold returns what the last line of an audit log says of the outcome, of who asked, and of his certificate.
func lastTold(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var l struct{ Outcome, Who, Certificate, Remote string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil || l.Remote == "" {
		t.Errorf("%s: %v", lines[len(lines)-1], err)
	}
	return l.Outcome + " " + l.Who + " " + l.Certificate
}
