package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// handshake connects a dialer with a listener and returns the names both saw.
func handshake(t *testing.T, listener, dialer *tls.Config) (client, server string, err error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	dialer = dialer.Clone()
	dialer.ServerName = cmp.Or(dialer.ServerName, "localhost")
	near, far := tls.Client(a, dialer), tls.Server(b, listener)
	accepted := make(chan error, 1)
	deadline := time.Now().Add(patience)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	go func() { accepted <- far.Handshake() }()
	// With TLS 1.3 the client learns of a refusal only when it reads.
	errNear := near.Handshake()
	if errNear != nil {
		b.Close()
	} else {
		go near.Read(make([]byte, 1))
	}
	if err := errors.Join(errNear, <-accepted); err != nil {
		return "", "", err
	}
	if certs := far.ConnectionState().PeerCertificates; len(certs) > 0 {
		client = certs[0].Subject.CommonName
	}
	return client, near.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// secureFor returns the configurations of a node.
func secureFor(t *testing.T, c Config) *secured {
	t.Helper()
	s, err := secure(&c, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Two regions with authorities of their own: each node trusts both, and shows the certificate that the other side
// takes.
func TestRegionTLS(t *testing.T) {
	us, eu := newAuthority(t, "us"), newAuthority(t, "eu")
	node := func(own, other *authority, name string) (peer, region TLS) {
		peer, region = own.issue(t, name), TLS{CA: other.file}
		peer.RequireClientCert = true
		return peer, region
	}
	usPeer, usRegion := node(us, eu, "us-1")
	euPeer, euRegion := node(eu, us, "eu-1")
	for _, test := range []struct {
		name                   string
		listen, listenRegion   TLS
		dial, dialRegion       TLS
		wantClient, wantServer string
	}{
		{"within a region", usPeer, usRegion, us.issue(t, "us-2"), usRegion, "us-2", "us-1"},
		{"between regions", euPeer, euRegion, usPeer, usRegion, "us-1", "eu-1"},
		{"with a certificate for the other region", euPeer, TLS{}, usPeer, eu.issue(t, "us-1-at-eu"), "us-1-at-eu",
			"eu-1"},
		{"without trust", euPeer, TLS{}, usPeer, usRegion, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener := secureFor(t, Config{PeerTLS: test.listen, RegionTLS: test.listenRegion})
			dialer := secureFor(t, Config{PeerTLS: test.dial, RegionTLS: test.dialRegion})
			client, server, err := handshake(t, listener.peer, dialer.dial.Config())
			if client != test.wantClient || server != test.wantServer || (err != nil) != (test.wantServer == "") {
				t.Errorf("client %q, server %q, %v", client, server, err)
			}
		})
	}
}

func TestBadTLSFiles(t *testing.T) {
	a := newAuthority(t, "a")
	good := a.issue(t, "good")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	os.WriteFile(empty, nil, 0o600)
	for name, block := range map[string]TLS{
		"missing": {Cert: "none.pem", Key: good.Key}, "mismatch": {Cert: good.Cert, Key: a.issue(t, "other").Key},
		"empty CA": {Cert: good.Cert, Key: good.Key, CA: empty},
	} {
		_, err := secure(&Config{PeerTLS: block}, 0, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What may be agreed on in a handshake is checked at the start, and holds at every port.
func TestWhatMayBeAgreedOn(t *testing.T) {
	const suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
	for _, test := range []struct {
		bounds Handshakes
		refuse string
	}{
		{Handshakes{}, ""}, {Handshakes{MinVersion: "1.3"}, ""}, {Handshakes{MinVersion: "TLS1.2"}, ""},
		{Handshakes{MinVersion: "1.2", CipherSuites: []string{suite}}, ""},
		{Handshakes{MinVersion: "1.1"}, `tls-min-version "1.1": use 1.2 or 1.3`},
		{Handshakes{MinVersion: "1.3", CipherSuites: []string{suite}}, "which tls-min-version 1.3 does not speak"},
		{Handshakes{MinVersion: "1.2", MaxVersion: "TLS1.2", CipherSuites: []string{suite}}, ""},
		{Handshakes{MinVersion: "1.3", MaxVersion: "1.3"}, ""},
		{Handshakes{MaxVersion: "1.1"}, `tls-max-version "1.1": use 1.2 or 1.3`},
		{Handshakes{MinVersion: "1.3", MaxVersion: "TLS1.2"}, "is greater than tls-max-version TLS1.2"},
		{Handshakes{CipherSuites: []string{"TLS_RSA_WITH_RC4_128_SHA"}}, "TLS_RSA_WITH_RC4_128_SHA is not secure"},
		{Handshakes{CipherSuites: []string{"TLS_AES_128_GCM_SHA256"}}, "is of TLS 1.3"},
		{Handshakes{CipherSuites: []string{"AES"}}, `"AES" is unknown: use some of TLS_ECDHE_`},
	} {
		c := testConfig(t, "n")
		c.Handshakes = test.bounds
		err := c.Validate()
		if (test.refuse == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.refuse) {
			t.Errorf("%+v: %v", test.bounds, err)
		}
	}
	a := newAuthority(t, "a")
	block := a.issue(t, "n")
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	other := old.Clone()
	other.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	fresh := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	bounded := Handshakes{MaxVersion: "1.2"}
	strict := Handshakes{MinVersion: "1.3"}
	chosen := Handshakes{MinVersion: "1.2", CipherSuites: []string{suite}}
	for _, test := range []struct {
		name   string
		bounds Handshakes
		dialer *tls.Config
		want   bool
	}{
		{"1.2 where nothing is said", Handshakes{}, old, true}, {"1.2 where 1.3 is asked for", strict, old, false},
		{"1.3 where nothing is said", Handshakes{}, fresh, true}, {"1.3 where 1.2 is the most", bounded, fresh, false},
		{"1.2 where that is the most", bounded, old, true},
		{"1.2 with a suite of those", chosen, old, true}, {"1.2 with another suite", chosen, other, false},
	} {
		s := secureFor(t, Config{ClientTLS: block, PeerTLS: block, HTTPTLS: block, Handshakes: test.bounds})
		for port, c := range map[string]*tls.Config{"client": s.client, "peer": s.peer, "http": s.http} {
			dialer := test.dialer.Clone()
			if port == "http" {
				dialer.NextProtos = []string{"http/1.1"}
			}
			if _, _, err := handshake(t, c, dialer); (err == nil) != test.want {
				t.Errorf("%s, at %s: %v", test.name, port, err)
			}
		}
		if most := s.dial.Config().MaxVersion; (most == tls.VersionTLS12) != (test.bounds.MaxVersion != "") {
			t.Errorf("%s: dials with at most %x", test.name, most)
		}
	}
}
