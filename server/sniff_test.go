package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// serveBoth serves gRPC health and an HTTP greeting on one port.
func serveBoth(t *testing.T, secure *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	both := sniff(l)
	rpc := grpc.NewServer()
	healthpb.RegisterHealthServer(rpc, health.NewServer())
	web := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }),
		slog.New(slog.DiscardHandler))
	go rpc.Serve(both.grpc)
	go web.Serve(both.http)
	t.Cleanup(func() { rpc.Stop(); web.Close() })
	return addr
}

func callRPC(t *testing.T, addr string, c credentials.TransportCredentials) error {
	t.Helper()
	connection, err := grpc.NewClient(addr, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func getHTTP(url string, c *tls.Config) (string, error) {
	// ForceAttemptHTTP2 offers h2 and http/1.1, as curl and browsers do.
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}, Timeout: time.Minute,
	}
	defer client.CloseIdleConnections()
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestSnifferPlaintext(t *testing.T) {
	addr := serveBoth(t, nil)
	if err := callRPC(t, addr, insecure.NewCredentials()); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	if body, err := getHTTP("http://"+addr, nil); err != nil || body != "hello" {
		t.Errorf("HTTP: %q, %v", body, err)
	}
}

// A request shorter than the HTTP/2 preface, and one that arrives byte by byte, must be recognized as well.
func TestSnifferSlowBytes(t *testing.T) {
	addr := serveBoth(t, nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	for _, b := range []byte("PROPFIND / HTTP/1.0\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(c)
	if err != nil || string(answer[:8]) != "HTTP/1.0" {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestSnifferMutualTLS(t *testing.T) {
	ours, strangers := newAuthority(t, "ours"), newAuthority(t, "strangers")
	block := ours.issue(t, "server")
	block.RequireClientCert = true
	addr := serveBoth(t, secureFor(t, Config{ClientTLS: block}).client)
	dial := func(block TLS) *tls.Config {
		c, err := ClientTLSConfig(block, false)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	member := dial(ours.issue(t, "client"))
	if err := callRPC(t, addr, credentials.NewTLS(member)); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	member.NextProtos = nil
	if body, err := getHTTP("https://"+addr, member); err != nil || body != "hello" {
		t.Errorf("HTTP: %q, %v", body, err)
	}
	foreign := strangers.issue(t, "client")
	foreign.CA = ours.file
	for name, c := range map[string]*tls.Config{
		"no certificate": dial(TLS{CA: ours.file}), "stranger's certificate": dial(foreign),
		"server of a stranger": dial(TLS{CA: strangers.file}),
	} {
		if err := callRPC(t, addr, credentials.NewTLS(c)); err == nil {
			t.Errorf("%s: gRPC was let in", name)
		}
		if _, err := getHTTP("https://"+addr, c); err == nil {
			t.Errorf("%s: HTTP was let in", name)
		}
	}
	if err := callRPC(t, addr, insecure.NewCredentials()); err == nil {
		t.Error("plaintext was let in")
	}
}
