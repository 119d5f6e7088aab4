package admin

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node is asked at its socket as at any address, with TLS or without: also with a token, which does not leave the
// machine there.
func TestANodeIsAskedAtItsSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "mimir") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var host, shown string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, shown = r.Host, r.Header.Get("Authorization")
		io.WriteString(w, `{"region":"us"}`) //nolint:errcheck // a test
	})
	plain, secured := filepath.Join(dir, "plain"), filepath.Join(dir, "secured")
	pool := x509.NewCertPool()
	for _, path := range []string{plain, secured} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Skip("no sockets here: ", err)
		}
		s := httptest.NewUnstartedServer(handler)
		s.Listener.Close()
		if s.Listener = l; path == secured {
			s.StartTLS()
			pool.AddCert(s.Certificate())
		} else {
			s.Start()
		}
		defer s.Close()
	}
	known := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "example.com"}
	for _, test := range []struct {
		endpoint string
		secure   *tls.Config
	}{{"unix://" + plain, nil}, {"unix://" + plain, known}, {"unixs://" + secured, known}} {
		c, err := NewClient([]string{test.endpoint}, test.secure)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, one := range []*Client{c.WithToken("hush"), c.WithToken("hush").At(test.endpoint)} {
			node, err := one.Node(t.Context())
			if err != nil || node.Region != "us" || host != "localhost" || shown != "Bearer hush" {
				t.Errorf("%s: %+v, %v, host %q, shown %q", test.endpoint, node, err, host, shown)
			}
		}
	}
	for endpoint, want := range map[string]string{
		"unixs://" + secured:                   "localhost", // no name that the certificate has
		"unix://" + filepath.Join(dir, "none"): "unix://" + filepath.Join(dir, "none") + "/mimir/v1/node: dial unix",
	} {
		c, err := NewClient([]string{endpoint}, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Node(t.Context()); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), socketZone) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
