//go:build unix

package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// shell does what the pages say, one block after another, as somebody would who reads them.
type shell struct {
	*testing.T
	dir    string
	in     io.Writer
	out    *bufio.Scanner
	errors *bytes.Buffer
}

func newShell(t *testing.T) *shell {
	t.Helper()
	if text, err := exec.CommandContext(t.Context(), "openssl", "version").Output(); err != nil ||
		!strings.HasPrefix(string(text), "OpenSSL 3") {
		t.Skip("the pages are for openssl 3, which is not here")
	}
	s := &shell{T: t, dir: t.TempDir(), errors: &bytes.Buffer{}}
	command := exec.CommandContext(t.Context(), "sh", "-e")
	command.Dir, command.Stderr = s.dir, s.errors
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		command.Wait() //nolint:errcheck // what went wrong was told
	})
	s.in, s.out = in, bufio.NewScanner(out)
	return s
}

// do runs a block.
func (s *shell) do(block string) {
	s.Helper()
	const done = "the block is done"
	if _, err := io.WriteString(s.in, block+"\necho "+done+"\n"); err != nil {
		s.Fatal(err, s.errors)
	}
	for s.out.Scan() {
		if s.out.Text() == done {
			return
		}
	}
	s.Fatalf("%s\nended with: %s", block, s.errors)
}

// block returns the first block of code behind a mark of a page.
func block(t *testing.T, page, mark, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, behind, _ := strings.Cut(string(text), mark)
	_, behind, _ = strings.Cut(behind, "```"+language+"\n")
	code, _, found := strings.Cut(behind, "```")
	if !found {
		t.Fatalf("%s: no block of %s behind %q", page, language, mark)
	}
	return code
}

// laidOut is the layout of docs/certificates.md.
type laidOut struct{ *shell }

// node returns the settings of a node, those of the page and what else it needs, with lists of revoked certificates of
// its clients or without.
func (l *laidOut) node(name string, lists bool) *Config {
	l.Helper()
	text := strings.ReplaceAll(block(l.T, "certificates.md", "and these settings:", "yaml"), "/etc/mimir/tls",
		filepath.Join(l.dir, name))
	if lists {
		text = strings.Replace(text, "  require-client-cert", "  crl: "+filepath.Join(l.dir, "client-ca.crl")+
			"\n  require-client-cert", 1)
	}
	file := filepath.Join(l.dir, name+".yaml")
	text += "name: " + name + "\nregion: us\ndata-dir: " + filepath.Join(l.dir, name, "data") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
	c, err := Load(file, func(string) (string, bool) { return "", false }, nil)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

// meets reports whether who has the files under a name is let in at the client port of us-1.
func (l *laidOut) meets(who, authorities string, lists bool) bool {
	l.Helper()
	at := func(name string) string { return filepath.Join(l.dir, name) }
	dialer, err := ClientTLSConfig(TLS{CA: at(authorities), Cert: at(who + ".crt"), Key: at(who + ".key")}, false)
	if err != nil {
		l.Fatal(err)
	}
	_, _, err = handshake(l.T, secureFor(l.T, *l.node("us-1", lists)).client, dialer)
	return err == nil
}

// peers has each node call each other one, and holds it to be that node and no other.
func (l *laidOut) peers(nodes ...string) {
	l.Helper()
	for _, caller := range nodes {
		shows := secureFor(l.T, *l.node(caller, false)).dial
		for _, called := range nodes {
			c := l.node(called, false)
			listener := secureFor(l.T, *c).peer
			var shown *x509.Certificate
			config := shows.Config()
			config.ServerName = called
			one := listener.Clone()
			one.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				inner, err := listener.GetConfigForClient(hello)
				if err == nil {
					check := inner.VerifyConnection
					inner.VerifyConnection = func(s tls.ConnectionState) error {
						shown = s.PeerCertificates[0]
						return check(s)
					}
				}
				return inner, err
			}
			if _, _, err := handshake(l.T, one, config); err != nil {
				l.Fatalf("%s at %s: %v", caller, called, err)
			}
			for _, as := range nodes {
				err := c.PeerRule.admit("mimir", grpctransport.Peer{
					Caller: transport.Caller{Region: "us", Node: as}, Certificate: shown,
				})
				if (err == nil) != (as == caller) {
					l.Errorf("%s speaks at %s as %s: %v", caller, called, as, err)
				}
			}
		}
	}
}

// The layout of docs/certificates.md, the exchange of both of its authorities and the list of what was revoked come out
// as the page says, by its own commands.
func TestCertificatesAsWritten(t *testing.T) {
	l := &laidOut{newShell(t)}
	l.do(strings.NewReplacer("10.1.0.", "127.0.0.").Replace(block(t, "certificates.md", "<!-- make -->", "sh")))
	l.peers("us-1", "us-2", "us-3")
	operators := l.node("us-1", false).Operator.certificates()
	if len(operators.AllowedCN) != 1 || operators.AllowedCN[0] != "operator" {
		t.Errorf("operators are %+v", operators)
	}
	for who, want := range map[string]bool{
		"app": true, "operator": true, "healthcheck-client": true, "us-2/peer": false, "us-2/server": false,
	} {
		if l.meets(who, "client-ca.crt", false) != want {
			t.Errorf("%s is let in as a client: %t", who, !want)
		}
	}
	l.do("cp app.crt former.crt; cp app.key former.key; cp client-ca.crt former-ca.crt")
	l.do(block(t, "certificates.md", "<!-- trust both -->", "sh"))
	if l.peers("us-1", "us-2"); !l.meets("app", "client-ca-both.crt", false) {
		t.Error("who has a certificate of the former authority is refused before there are others")
	}
	l.do(block(t, "certificates.md", "<!-- new certificates -->", "sh"))
	if l.peers("us-1", "us-3"); !l.meets("app", "client-ca-both.crt", false) ||
		!l.meets("former", "client-ca-both.crt", false) {
		t.Error("while both are trusted somebody is refused")
	}
	l.do(block(t, "certificates.md", "<!-- trust the new -->", "sh"))
	if l.peers("us-2", "us-3"); !l.meets("app", "client-ca.crt", false) || l.meets("former", "client-ca.crt", false) ||
		l.meets("app", "former-ca.crt", false) {
		t.Error("the former authority is trusted still, or the new one is not")
	}
	l.do(block(t, "certificates.md", "<!-- revoke -->", "sh"))
	if l.meets("app", "client-ca.crt", true) || !l.meets("operator", "client-ca.crt", true) {
		t.Error("what was revoked is let in, or what was not is refused")
	}
}

// anyUser are users of whom there is each.
type anyUser struct{}

func (anyUser) Revision() uint64                 { return 7 }
func (anyUser) UserKey(string) ([]byte, bool)    { return []byte("a key"), true }
func (anyUser) Basis(string) (token.Basis, bool) { return token.Basis{1}, true }

// The keys of JWTs that docs/auth.md makes are those that its setting takes.
func TestJWTsAsWritten(t *testing.T) {
	s := newShell(t)
	s.do(block(t, "auth.md", "give it one", "sh"))
	setting := block(t, "auth.md", "give it one", "yaml")
	_, setting, _ = strings.Cut(strings.TrimSpace(setting), "auth-token: ")
	spec, err := token.Parse(strings.ReplaceAll(strings.Trim(setting, `"`), "/etc/mimir", s.dir))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.NewJWT(spec, os.ReadFile, clock.Real, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	text, err := tokens.Assign(anyUser{}, "root", 7)
	if err != nil || !strings.HasPrefix(text, "eyJ") {
		t.Errorf("%q, %v", text, err)
	}
	if claim, err := tokens.Read(nil, text, clock.Real.Now()); err != nil || claim.User != "root" {
		t.Errorf("%+v, %v", claim, err)
	}
}
