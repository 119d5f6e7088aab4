package server

import (
	"crypto/tls"
	"errors"
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
	dialer.ServerName = "localhost"
	near, far := tls.Client(a, dialer), tls.Server(b, listener)
	accepted := make(chan error, 1)
	deadline := time.Now().Add(10 * time.Second)
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
			listener, err := listenerTLS([]string{"h2"}, test.listen, test.listenRegion)
			if err != nil {
				t.Fatal(err)
			}
			dialer, err := dialerTLS(test.dial, test.dialRegion)
			if err != nil {
				t.Fatal(err)
			}
			client, server, err := handshake(t, listener, dialer)
			if client != test.wantClient || server != test.wantServer || (err != nil) != (test.wantServer == "") {
				t.Errorf("client %q, server %q, %v", client, server, err)
			}
		})
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	a := newAuthority(t, "a")
	block := a.issue(t, "first")
	pair, err := loadKeypair(block.Cert, block.Key)
	if err != nil {
		t.Fatal(err)
	}
	before := pair.current()
	next := a.issue(t, "second")
	for from, to := range map[string]string{next.Cert: block.Cert, next.Key: block.Key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stamp := time.Now().Add(time.Minute)
	os.Chtimes(block.Cert, stamp, stamp)
	if pair.current() != before {
		t.Error("the files are looked at with every connection")
	}
	pair.checked = time.Time{}
	after := pair.current()
	if after == before || after.Leaf.Subject.CommonName != "second" {
		t.Error("the new certificate was not read")
	}
	os.WriteFile(block.Cert, []byte("half a certif"), 0o600)
	pair.checked = time.Time{}
	if pair.current() != after {
		t.Error("a broken file replaced a good certificate")
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
		if _, err := listenerTLS(nil, block); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
