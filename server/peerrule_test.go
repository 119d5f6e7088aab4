package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// A certificate of the authority is that of a node only if the rule says so, and the handler hears of nobody else.
func TestWhoIsAPeer(t *testing.T) {
	nodes := newAuthority(t, "nodes")
	us1, app := nodes.issue(t, "us-1.us.f"), nodes.issue(t, "app")
	for _, test := range []struct {
		name   string
		rule   PeerRule
		shows  TLS
		as     string
		refuse string // "": taken
	}{
		{"no rule", PeerRule{}, app, "us-1", ""},
		{"itself", PeerRule{Bind: bindNode}, us1, "us-1", ""},
		{"another node", PeerRule{Bind: bindNode}, us1, "us-2", "names neither us-2.us.f nor mimir://f/us/us-2"},
		{"nobody", PeerRule{Bind: bindNode}, us1, "", "names neither"},
		{"an application", PeerRule{Bind: bindNode}, app, "us-1", `of "app"`},
		{"allowed", PeerRule{AllowedCN: []string{"x", "app"}}, app, "us-1", ""},
		{"not allowed", PeerRule{AllowedCN: []string{"us-1.us.f"}}, app, "us-1", "peer-tls.allowed-cn"},
		{"of the host", PeerRule{AllowedHostnames: []string{"localhost"}}, app, "us-1", ""},
		{"of another host", PeerRule{AllowedHostnames: []string{"us-1"}}, app, "us-1", "peer-tls.allowed-hostname"},
		{"both hold", PeerRule{AllowedHostnames: []string{"127.0.0.1"}, Bind: bindNode}, us1, "us-1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			heard, err := openAs(t, us1, test.rule, test.shows, test.as)
			switch {
			case test.refuse == "" && (err != nil || heard != transport.Caller{Region: "us", Node: test.as}):
				t.Errorf("heard %+v, %v", heard, err)
			case test.refuse != "" && (!errors.Is(err, transport.ErrStranger) ||
				!strings.Contains(err.Error(), test.refuse) || heard != transport.Caller{}):
				t.Errorf("heard %+v, %v", heard, err)
			}
		})
	}
}

// A name with dots is that of one node: of two regions of which the one has the other's name behind a dot, the longer
// one has it. Where no region is like that dots mean nothing, and a URI is never of two nodes.
func TestANameWithDotsIsOfOneNode(t *testing.T) {
	a := newAuthority(t, "nodes")
	issued := func(name string) *x509.Certificate {
		text, err := os.ReadFile(a.issue(t, name).Cert)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	named := issued("x.us.west.f")
	uri := &x509.Certificate{URIs: []*url.URL{{Scheme: "mimir", Host: "f", Path: "/west/x.us"}}}
	other := *issued("x.us.west.f") // of x of us in the fleet west.f, which says so
	other.URIs = []*url.URL{{Scheme: "mimir", Host: "west.f", Path: "/us/x"}}
	for _, test := range []struct {
		shows        *x509.Certificate
		region, node string
		regions      []string
		taken        bool
	}{
		{&other, "west", "x.us", []string{"west"}, false},
		{named, "us.west", "x", []string{"west", "us.west"}, true},
		{named, "west", "x.us", []string{"us.west", "west"}, false},
		{named, "west", "x.us", []string{"west", "eu.west"}, true},
		{named, "west", "x.us", nil, true},
		{uri, "west", "x.us", []string{"west", "us.west"}, true},
		{uri, "us.west", "x", []string{"west", "us.west"}, false},
	} {
		rule := PeerRule{Bind: bindNode, regions: test.regions}
		err := rule.admit("f", grpctransport.Peer{
			Caller: transport.Caller{Region: test.region, Node: test.node}, Certificate: test.shows,
		})
		if (err == nil) != test.taken {
			t.Errorf("%s of %s, beside %v: %v", test.node, test.region, test.regions, err)
		}
	}
	rule := PeerRule{Bind: bindNode} // the name is right, and the URI is not: it says which one it was
	err := rule.admit("f", grpctransport.Peer{
		Caller: transport.Caller{Region: "west", Node: "x.us"}, Certificate: &other,
	})
	if want := `names "mimir://west.f/us/x", and not mimir://f/west/x.us (peer-tls.bind): where it has such a URI, ` +
		"that alone counts"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("refused with %v, want %s", err, want)
	}
}

// A thousand peers that are refused are one line of the log.
func TestRefusedPeersAreTold(t *testing.T) {
	log := &logged{}
	rule := PeerRule{Bind: bindNode}
	admit := rule.admitting("f", slog.New(slog.NewTextHandler(log, nil)))
	for range 1000 {
		if admit(grpctransport.Peer{Addr: "10.0.0.1:5"}) == nil {
			t.Fatal("taken")
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "10.0.0.1:5") ||
		!strings.Contains(text, "shows no certificate") {
		t.Errorf("told: %s", text)
	}
}

// openAs opens a stream with a certificate and in a name, and returns what the handler heard.
func openAs(t *testing.T, server TLS, rule PeerRule, shows TLS, as string) (heard transport.Caller, err error) {
	t.Helper()
	server.RequireClientCert = true
	serverTLS := secureFor(t, Config{PeerTLS: server}).peer
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node, err := grpctransport.New(grpctransport.Options{
		Listener: l, ServerTLS: serverTLS, FleetID: "f", NodeName: "us-3", Region: "us",
		Admit: func(p grpctransport.Peer) error { return rule.admit("f", p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	err = node.Serve(map[string]transport.Handler{"who": func(ctx context.Context, s transport.Stream) error {
		heard, _ = transport.CallerOf(s.Context())
		return s.Send([]byte("heard"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	wire := grpctransport.Options{FleetID: "f", NodeName: as, Region: "us"}
	if dial := secureFor(t, Config{RegionTLS: shows}).dial; dial != nil {
		wire.ClientCredentials = dial
	}
	caller, err := grpctransport.New(wire)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := caller.Open(ctx, l.Addr().String(), "who")
	if err != nil {
		return heard, err
	}
	_, err = s.Recv()
	return heard, err
}

// peer-tls with an authority asks for certificates unless it is told not to.
func TestPeersAreAskedForCertificates(t *testing.T) {
	for name, test := range map[string]struct {
		set  map[string]string
		asks bool
	}{
		"with ca":         {map[string]string{"ca": "ca.pem"}, true},
		"told not to":     {map[string]string{"ca": "ca.pem", "require-client-cert": "false"}, false},
		"told to":         {map[string]string{"ca": "ca.pem", "require-client-cert": "true"}, true},
		"the machine's":   {nil, false},
		"without a block": {map[string]string{"cert": "", "key": ""}, false},
	} {
		c := DefaultConfig()
		c.PeerTLS.Cert, c.PeerTLS.Key = "c.pem", "k.pem"
		for i := range settings {
			s := &settings[i]
			key, ours := strings.CutPrefix(s.key, "peer-tls.")
			if text, ok := test.set[key]; ok && ours {
				if err := s.set(&c, text); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.complete()
		if c.PeerTLS.RequireClientCert != test.asks {
			t.Errorf("%s: asks: %t", name, c.PeerTLS.RequireClientCert)
		}
	}
}

// What is open to others is told at the start and in the status, and what to change; nothing of a fleet on one machine.
func TestWhatIsOpenIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"loopback": {func(c *Config) {}, nil},
		"plaintext": {func(c *Config) { c.ListenClient, c.ListenPeer = "0.0.0.0:1", "10.0.0.1:2" },
			[]string{"listen-peer", "listen-client"}},
		"one authority": {func(c *Config) { c.PeerTLS = TLS{Cert: "c", Key: "k", CA: "a"} }, []string{"peer-tls.bind"}},
		"bound": {func(c *Config) {
			c.PeerTLS, c.PeerRule.Bind = TLS{Cert: "c", Key: "k", CA: "a"}, bindNode
		}, nil},
		"asks nobody": {func(c *Config) {
			c.PeerTLS = TLS{Cert: "c", Key: "k", CA: "a", Lenient: true}
			c.ClientTLS = TLS{Cert: "c", Key: "k"}
		}, []string{"peer-tls asks nobody", "client-tls asks nobody"}},
		"metrics": {func(c *Config) { c.ListenHTTP = ":80" }, []string{"listen-http"}},
	} {
		c := DefaultConfig()
		test.change(&c)
		c.complete()
		got := c.advice()
		if len(got) != len(test.want) || !slices.EqualFunc(got, test.want, strings.Contains) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
