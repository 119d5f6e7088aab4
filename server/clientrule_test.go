package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/mimir-kv/mimir/server/operator"
)

var refusedHandshakes = regexp.MustCompile(
	`\nmimir_connections_refused_total\{listener="listen-client",reason="handshake"\} [1-9]`)

// Of those whose certificates an authority signed, who is not allowed is refused in the handshake; the log and the
// metrics tell of it.
func TestWhoIsAClient(t *testing.T) {
	clients := newAuthority(t, "clients")
	app, other := clients.issue(t, "app"), clients.issue(t, "other")
	for name, test := range map[string]struct {
		rule   ClientRule
		refuse string // what the log says; "": only taken are seen
	}{
		"no rule": {ClientRule{}, ""},
		"by name": {ClientRule{AllowedCN: []string{"x", "app"}},
			`of \"other\", which is not in client-tls.allowed-cn`},
		"by host": {ClientRule{AllowedHostnames: []string{"x", "localhost"}}, ""},
		"by another host": {ClientRule{AllowedHostnames: []string{"app"}},
			"is valid for nothing in client-tls.allowed-hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			c, log := testConfig(t, "solo"), &logged{}
			c.ClientTLS, c.ClientRule, c.ListenHTTP = clients.issue(t, "node"), test.rule, freeAddr(t)
			c.ClientTLS.RequireClientCert = true
			runNodeWith(t, c, Options{LogTo: log})
			serves := func(shows TLS) func(context.Context) bool {
				client := etcdClient(t, c, shows)
				return func(ctx context.Context) bool {
					_, err := client.Put(ctx, "a", "1")
					return err == nil
				}
			}
			if name != "by another host" {
				eventually(t, "who is allowed is served", serves(app))
			}
			if test.refuse == "" {
				eventually(t, "the other one is too", serves(other))
				return
			}
			refused := etcdClient(t, c, other)
			eventually(t, "it is told who was refused", func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // the client tries until its time is over
				defer cancel()
				if _, err := refused.Put(ctx, "a", "2"); err == nil {
					t.Fatal("who is not allowed has written")
				}
				page, err := getHTTP("http://"+c.ListenHTTP+"/metrics", nil)
				return err == nil && refusedHandshakes.MatchString(page) && strings.Contains(log.String(), test.refuse)
			})
		})
	}
}

// Nobody has an empty name: a list that a template left empty does not let in certificates without a name.
func TestAnEmptyNameIsNobodys(t *testing.T) {
	for _, rule := range []ClientRule{{AllowedCN: []string{"a", ""}}, {AllowedHostnames: []string{""}}} {
		if err := rule.validate(TLS{RequireClientCert: true}); err == nil {
			t.Errorf("%+v is taken", rule)
		}
	}
	if isAllowed("peer-tls", []string{""}, nil, &x509.Certificate{}) == nil {
		t.Error("a certificate without a name is taken")
	}
	operators := operator.Certificates{AllowedCN: []string{""}}
	nameless := &operator.Caller{Certificate: &x509.Certificate{}}
	if _, err := operators.Operator(t.Context(), nameless); err == nil {
		t.Error("a certificate without a name is an operator's")
	}
}

// A common name may have spaces, and its words are nobody's names: neither of etcd's names nor ours take it apart.
func TestNamesWithSpaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etcd.yaml")
	const common = "cert-file: c, key-file: k, trusted-ca-file: a"
	text := fmt.Sprintf("name: n\ndata-dir: d\nclient-transport-security: {%s, allowed-cn: \"an app, b\"}\n"+
		"peer-transport-security: {%s, allowed-cn: [a node]}\n", common, common)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--config-file=" + file, "--http-tls-allowed-cn=a scraper,c"}); err != nil {
		t.Fatal(err)
	}
	c, _ := load("", func(string) (string, bool) { return "", false }, flags)
	if !slices.Equal(c.ClientRule.AllowedCN, []string{"an app", "b"}) ||
		!slices.Equal(c.PeerRule.AllowedCN, []string{"a node"}) ||
		!slices.Equal(c.HTTPRule.AllowedCN, []string{"a scraper", "c"}) {
		t.Errorf("%q, %q, %q", c.ClientRule.AllowedCN, c.PeerRule.AllowedCN, c.HTTPRule.AllowedCN)
	}
}

// At listen-http the names are asked for too.
func TestWhoComesToListenHTTP(t *testing.T) {
	a := newAuthority(t, "a")
	block := a.issue(t, "n")
	block.RequireClientCert = true
	s := secureFor(t, Config{HTTPTLS: block, HTTPRule: ClientRule{AllowedCN: []string{"scraper"}}})
	for name, want := range map[string]bool{"scraper": true, "other": false} {
		dialer := secureFor(t, Config{PeerTLS: a.issue(t, name)}).dial.Config()
		dialer.NextProtos = []string{"http/1.1"}
		if _, _, err := handshake(t, s.http, dialer); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node shows the certificate for connecting, if it has one, wherever it connects, and its other one to who comes.
func TestTheCertificateForConnecting(t *testing.T) {
	us, eu := newAuthority(t, "us"), newAuthority(t, "eu")
	block := us.issue(t, "listens")
	shown := us.issue(t, "connects")
	block.ClientCert, block.ClientKey, block.RequireClientCert = shown.Cert, shown.Key, true
	node := secureFor(t, Config{PeerTLS: block, RegionTLS: eu.issue(t, "at eu")})
	for name, test := range map[string]struct {
		listener   TLS
		wantClient string
	}{
		"in the region": {us.issue(t, "other"), "connects"}, "to the other": {eu.issue(t, "other"), "at eu"},
	} {
		test.listener.RequireClientCert = true
		client, server, err := handshake(t, secureFor(t, Config{PeerTLS: test.listener}).peer, node.dial.Config())
		if client != test.wantClient || server != "other" || err != nil {
			t.Errorf("%s: client %q, server %q, %v", name, client, server, err)
		}
	}
	_, server, err := handshake(t, node.peer, secureFor(t, Config{PeerTLS: us.issue(t, "comes")}).dial.Config())
	if server != "listens" || err != nil {
		t.Errorf("server %q, %v", server, err)
	}
}

// What asks for nothing because something else is missing is refused.
func TestRulesOfCertificatesNeedCertificates(t *testing.T) {
	files := TLS{Cert: "c", Key: "k", CA: "a"}
	for want, change := range map[string]func(*Config){
		"client-tls: allowed-cn and allowed-hostname need ca": func(c *Config) {
			c.ClientTLS, c.ClientRule.AllowedHostnames = files, []string{"x"}
		},
		"http-tls: allowed-cn and allowed-hostname need ca": func(c *Config) { c.HTTPRule.AllowedCN = []string{"x"} },
		"peer-tls: client-cert \"x\" and client-key \"\" belong together": func(c *Config) {
			c.PeerTLS = files
			c.PeerTLS.ClientCert = "x"
		},
		"peer-tls: client-cert needs cert and key": func(c *Config) {
			c.PeerTLS = TLS{ClientCert: "x", ClientKey: "y"}
		},
	} {
		c := testConfig(t, "n")
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
