package grpctransport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/mimir-kv/mimir/check/leaks"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// Nothing of a connection runs on after its test.
func TestMain(m *testing.M) { os.Exit(leaks.Run(m)) }

// tcp returns a transport on a free loopback port, closed with the test.
func tcp(t testing.TB, change func(*grpctransport.Options)) (transport.Transport, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := grpctransport.Options{Listener: l, FleetID: "fleet", NodeName: "node", Region: "us"}
	if change != nil {
		change(&o)
	}
	tr, err := grpctransport.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr, l.Addr().String()
}

// call sends one message to an echo service and returns how it went.
func call(t testing.TB, from transport.Transport, addr string, p []byte) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := from.Open(ctx, addr, service)
	if err != nil {
		return nil, err
	}
	_ = s.Send(p) // a handler that answers without asking may have ended already: Recv knows
	return s.Recv()
}

// TestWhoAsksAnewHearsHowThePeerIsNow, and not that an attempt before failed, or does not end.
func TestWhoAsksAnewHearsHowThePeerIsNow(t *testing.T) {
	server, addr := tcp(t, nil)
	serve(t, server, echo)
	tries := make(chan int, 100)
	var down atomic.Bool
	down.Store(true)
	var n atomic.Int32
	dialer, _ := tcp(t, func(o *grpctransport.Options) {
		o.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			if !down.Load() {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}
			try := n.Add(1)
			tries <- int(try)
			if try == 1 {
				return nil, errors.New("refused")
			}
			<-ctx.Done() // as where packets are lost
			return nil, ctx.Err()
		}
	})
	if _, err := call(t, dialer, addr, []byte("hello")); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("a peer that refuses: %v", err)
	}
	for <-tries < 2 { // until it is tried again
	}
	down.Store(false)
	if _, err := call(t, dialer, addr, []byte("hello")); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("who does not ask anew: %v", err)
	}
	ctx, cancel := context.WithTimeout(transport.Anew(t.Context()), time.Minute)
	defer cancel()
	s, err := dialer.Open(ctx, addr, service)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := exchange(s, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func exchange(s transport.Stream, p []byte) ([]byte, error) {
	if err := s.Send(p); err != nil {
		return nil, err
	}
	return s.Recv()
}

// authority signs certificates for one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	return a
}

func (a *authority) issue(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	server, addr := tcp(t, func(o *grpctransport.Options) {
		o.ServerTLS = &tls.Config{
			Certificates: []tls.Certificate{ours.issue(t)}, ClientCAs: ours.pool,
			ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	serve(t, server, echo)
	for _, test := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"certificate of our authority",
			&tls.Config{Certificates: []tls.Certificate{ours.issue(t)}, RootCAs: ours.pool}, true},
		{"certificate of another authority",
			&tls.Config{Certificates: []tls.Certificate{theirs.issue(t)}, RootCAs: ours.pool}, false},
		{"no certificate", &tls.Config{RootCAs: ours.pool}, false},
		{"server of another authority",
			&tls.Config{Certificates: []tls.Certificate{ours.issue(t)}, RootCAs: theirs.pool}, false},
		{"server of another name",
			&tls.Config{Certificates: []tls.Certificate{ours.issue(t)}, RootCAs: ours.pool, ServerName: "else"}, false},
		{"plaintext", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, _ := tcp(t, func(o *grpctransport.Options) { o.ClientTLS = test.config })
			p, err := call(t, client, addr, []byte("hello"))
			if test.ok && (err != nil || string(p) != "hello") ||
				!test.ok && !errors.Is(err, transport.ErrUnreachable) {
				t.Fatalf("%q, %v", p, err)
			}
		})
	}
}

func TestAnotherFleetIsRefused(t *testing.T) {
	server, addr := tcp(t, nil)
	serve(t, server, echo)
	client, _ := tcp(t, func(o *grpctransport.Options) { o.FleetID, o.NodeName = "staging é", "eu-1" })
	_, err := call(t, client, addr, nil)
	if !errors.Is(err, transport.ErrFleet) || !strings.Contains(err.Error(), `"staging é"`) ||
		!strings.Contains(err.Error(), `"fleet"`) {
		t.Fatal(err)
	}
}

func TestPeersAreNamed(t *testing.T) {
	server, addr := tcp(t, nil)
	serve(t, server, func(_ context.Context, s transport.Stream) error { return s.Send([]byte(s.Peer())) })
	client, _ := tcp(t, func(o *grpctransport.Options) { o.NodeName = "eu-1" })
	if p, err := call(t, client, addr, nil); err != nil || !strings.HasPrefix(string(p), "eu-1@127.0.0.1:") {
		t.Fatalf("%q, %v", p, err)
	}
}

func TestReconnectsToAPeerThatCameBack(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPipes()
		client, server := p.node(t, "a", nil), p.node(t, "b", nil)
		serve(t, server, echo)
		if _, err := call(t, client, "b", []byte("x")); err != nil {
			t.Fatal(err)
		}
		server.Close()
		if _, err := call(t, client, "b", []byte("x")); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		again := p.node(t, "b", nil)
		serve(t, again, echo)
		for deadline := time.Now().Add(20 * time.Second); ; {
			_, err := call(t, client, "b", []byte("x"))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // the peer is up; only the backoff is still running
		}
		if err := errors.Join(again.Close(), client.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLargestMessage(t *testing.T) {
	server, addr := tcp(t, nil)
	serve(t, server, echo)
	client, _ := tcp(t, nil)
	p := bytes.Repeat([]byte("mimir..."), transport.MaxMessageBytes/8)
	if got, err := call(t, client, addr, p); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// A peer whose packets vanish is noticed by both sides, in virtual time.
func TestSilentPeerIsNoticed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPipes()
		var frozen []*freezable
		p.wrap = func(c net.Conn) net.Conn {
			f := &freezable{Conn: c, frozen: make(chan struct{}), closed: make(chan struct{})}
			frozen = append(frozen, f)
			return f
		}
		a, b := p.node(t, "a", nil), p.node(t, "b", nil)
		ended := make(chan error, 1)
		serve(t, b, func(_ context.Context, s transport.Stream) error {
			_, err := s.Recv()
			ended <- err
			return err
		})
		s := open(t, t.Context(), a, "b", service)
		time.Sleep(30 * time.Second) // an idle stream lives
		if s.Context().Err() != nil || len(ended) > 0 {
			t.Fatal("an idle stream ended")
		}
		start := time.Now()
		for _, f := range frozen {
			close(f.frozen)
		}
		if err := <-ended; !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Fatalf("the server side noticed after %v", d)
		}
		if _, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 17*time.Second {
			t.Fatalf("the dialling side noticed after %v", d)
		}
		a.Close()
		b.Close()
	})
}

// freezable is a connection that can stop to carry anything, without an error.
type freezable struct {
	net.Conn
	frozen, closed chan struct{}
	once           sync.Once
}

func (f *freezable) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.frozen:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *freezable) Write(p []byte) (int, error) {
	select {
	case <-f.frozen:
		return len(p), nil
	default:
		return f.Conn.Write(p)
	}
}

// Close of a frozen connection does not reach the other side either.
func (f *freezable) Close() error {
	f.once.Do(func() { close(f.closed) })
	select {
	case <-f.frozen:
		return nil
	default:
		return f.Conn.Close()
	}
}

func TestParallelConnections(t *testing.T) {
	server, addr := tcp(t, nil)
	serve(t, server, func(_ context.Context, s transport.Stream) error { return s.Send([]byte(s.Peer())) })
	client, _ := tcp(t, func(o *grpctransport.Options) { o.Connections = func(string) int { return 3 } })
	peers := map[string]bool{}
	for range 9 {
		p, err := call(t, client, addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		peers[string(p)] = true
	}
	if len(peers) != 3 {
		t.Fatalf("%d connections: %v", len(peers), peers)
	}
}

func TestMissingCongestionControlIsOneWarning(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	server, addr := tcp(t, func(o *grpctransport.Options) { o.CongestionControl, o.Logger = "nosuch", logger })
	serve(t, server, echo)
	for range 3 {
		client, _ := tcp(t, nil)
		if _, err := call(t, client, addr, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "nosuch"); n > 1 || n == 0 && runtime.GOOS == "linux" {
		t.Fatalf("%d warnings: %s", n, log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []grpctransport.Options{
		{},
		{FleetID: "f", DeadAfter: time.Second},
		{FleetID: "f", WindowBytes: 100},
	} {
		if _, err := grpctransport.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	tr, err := grpctransport.New(grpctransport.Options{FleetID: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Serve(nil); err == nil {
		t.Error("served without a listener")
	}
	tr.Close()
}

func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{256, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(byteSize(size), func(b *testing.B) {
			server, addr := tcp(b, nil)
			if err := server.Serve(map[string]transport.Handler{service: func(
				_ context.Context, s transport.Stream,
			) error {
				for {
					if _, err := s.Recv(); errors.Is(err, io.EOF) {
						return nil
					} else if err != nil {
						return err
					}
				}
			}}); err != nil {
				b.Fatal(err)
			}
			client, _ := tcp(b, nil)
			s, err := client.Open(b.Context(), addr, service)
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Send(p); err != nil {
					b.Fatal(err)
				}
			}
			s.CloseSend()
			if _, err := s.Recv(); err != io.EOF {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	server, addr := tcp(b, nil)
	server.Serve(map[string]transport.Handler{service: echo})
	client, _ := tcp(b, nil)
	s, err := client.Open(b.Context(), addr, service)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(p); err != nil {
			b.Fatal(err)
		}
		if p, err = s.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}

func byteSize(n int) string {
	if n >= 1<<10 {
		return strconv.Itoa(n>>10) + "KiB"
	}
	return strconv.Itoa(n) + "B"
}

// What a stranger costs who greets, is greeted and leaves.
func BenchmarkStranger(b *testing.B) {
	server, addr := tcp(b, nil)
	server.Serve(map[string]transport.Handler{service: echo})
	greeting := append([]byte(http2.ClientPreface), 0, 0, 0, 4, 0, 0, 0, 0, 0)
	seen := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Write(greeting); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(seen); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
