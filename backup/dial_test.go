package backup

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// A node is reached by the socket at which it listens, also where TLS was asked for, which is for others.
func TestDialASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	n := etcdapitest.Start(t, etcdapi.Limits{})
	s := grpc.NewServer(n.API.ServerOptions()...)
	n.API.Register(s)
	go s.Serve(l) //nolint:errcheck // ends with Stop
	defer s.Stop()
	for _, secure := range []*tls.Config{nil, {MinVersion: tls.VersionTLS12}} {
		conn, err := Dial(t.Context(), "unix://"+path, secure, Who{Token: "of an operator"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pb.NewMaintenanceClient(conn).Status(t.Context(), &pb.StatusRequest{}); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
	if _, err := Dial(t.Context(), "http://127.0.0.1:1", &tls.Config{MinVersion: tls.VersionTLS12},
		Who{Token: "x"}); !errors.Is(err, ErrClear) {
		t.Errorf("a token without TLS: %v", err)
	}
}
