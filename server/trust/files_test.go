package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// span is when a certificate is valid, from now.
type span struct{ from, until time.Duration }

var day = span{-time.Hour, 24 * time.Hour}

func newAuthority(t testing.TB, name string, valid span) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert, a.pem = sign(t, name, valid, &a.key.PublicKey, nil, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var serial int64

func sign(
	t testing.TB, name string, valid span, key *ecdsa.PublicKey, by *x509.Certificate, with *ecdsa.PrivateKey,
) (*x509.Certificate, []byte) {
	t.Helper()
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(valid.from), NotAfter: time.Now().Add(valid.until),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if by == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		template.ExtKeyUsage, by = nil, template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key, with)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue returns a certificate and its key.
func (a *authority) issue(t testing.TB, name string, valid span) (cert, secret []byte) {
	t.Helper()
	key := newKey(t)
	_, cert = sign(t, name, valid, &key.PublicKey, a.cert, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// files are those of one block.
type files struct{ Block }

func newFiles(t testing.TB, name string) *files {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return &files{Block{Name: name, Cert: in("cert"), Key: in("key"), CA: in("ca"), RequireClientCert: true}}
}

func put(t testing.TB, path string, texts ...[]byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Join(texts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *files) show(t testing.TB, by *authority, name string) {
	t.Helper()
	cert, key := by.issue(t, name, day)
	put(t, f.Cert, cert)
	put(t, f.Key, key)
}

func (f *files) believe(t testing.TB, authorities ...*authority) {
	t.Helper()
	var texts [][]byte
	for _, a := range authorities {
		texts = append(texts, a.pem)
	}
	put(t, f.CA, texts...)
}

// guest is an end of a connection in memory that knows how to leave.
type guest struct {
	net.Conn
	mu        sync.Mutex
	dismissed bool
	after     []func()
}

func (g *guest) OnClose(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.after = append(g.after, f)
}

func (g *guest) Dismiss(time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dismissed = true
}

func (g *guest) leaves() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dismissed
}
