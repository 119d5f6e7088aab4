package browser

import (
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/mimir-kv/mimir/server/authority"
)

const day = 24 * time.Hour

// Certificates makes an authority, a certificate for nodes that ends soon and one for listen-http that has ended, and
// returns the flags with which nodes use them.
func Certificates(dir string) (flags []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	now := time.Now()
	if err := authority.Make(dir, "peer-ca", "mimir", now); err != nil {
		return nil, err
	}
	a, err := authority.Open(dir, "peer-ca")
	if err != nil {
		return nil, err
	}
	s := authority.Subject{Name: "node", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true}
	peer, http := filepath.Join(dir, "peer"), filepath.Join(dir, "http")
	if err := a.Issue(peer, s, 9*day, now); err != nil {
		return nil, err
	}
	s.Name = "monitoring"
	if err := a.Issue(http, s, 30*day, now.Add(-33*day)); err != nil {
		return nil, err
	}
	return []string{
		"--peer-tls-cert", peer + ".crt", "--peer-tls-key", peer + ".key",
		"--peer-tls-ca", filepath.Join(dir, "peer-ca.crt"),
		"--http-tls-cert", http + ".crt", "--http-tls-key", http + ".key",
	}, nil
}
