package server

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// testPort is a port whose servers serve health alone, and give newcomers an hour.
type testPort struct {
	*rpcPort
	t      *testing.T
	addr   string
	health *health.Server
}

func newTestPort(t *testing.T) *testPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &testPort{t: t, addr: l.Addr().String(), health: health.NewServer()}
	p.rpcPort = &rpcPort{leave: func(done func()) { go done() }, make: func() *grpc.Server {
		s := grpc.NewServer(grpc.ConnectionTimeout(time.Hour))
		healthpb.RegisterHealthServer(s, p.health)
		return s
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := p.serve(l); err != grpc.ErrServerStopped {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { p.stop(); <-served })
	return p
}

// stranger connects, is greeted, and says nothing that is more than a preface.
func (p *testPort) stranger() net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	if _, err := c.Write(preface); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, frameHeaderBytes)); err != nil { // settings: the server waits for his
		p.t.Fatal(err)
	}
	return c
}

// watch opens a stream on a connection of its own.
func (p *testPort) watch() healthpb.Health_WatchClient {
	p.t.Helper()
	c, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	w, err := healthpb.NewHealthClient(c).Watch(p.t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil {
		p.t.Fatal(err)
	}
	return w
}

// formers returns how many servers of before are not over.
func (p *testPort) formers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.former)
}

// Who connects and does not shake hands keeps no server from its end, nor the clients of a former one from being asked
// to leave.
func TestAStrangerKeepsNoServerFromItsEnd(t *testing.T) {
	for name, end := range map[string]func(p *testPort){
		"stop":     func(p *testPort) { p.stop() },
		"graceful": func(p *testPort) { p.gracefulStop() },
	} {
		p := newTestPort(t)
		c := p.stranger()
		over := make(chan struct{})
		go func() {
			end(p)
			close(over)
		}()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatal(name, ": a stranger keeps it from its end")
		}
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the stranger was not sent away: %v", name, err)
		}
	}
	p := newTestPort(t)
	p.stranger()
	p.renew()
	eventually(t, "the former server is over", func(context.Context) bool { return p.formers() == 0 })
}

// A watch goes on at a server of former limits, up to so many of those; then the oldest goes.
func TestFormerServersAreSoMany(t *testing.T) {
	p := newTestPort(t)
	p.last = time.Millisecond
	var watches []healthpb.Health_WatchClient
	for range formerServers + 1 {
		watches = append(watches, p.watch())
		if got := p.formers(); got != len(watches)-1 {
			t.Fatalf("%d former servers with %d watches", got, len(watches)-1)
		}
		p.renew()
	}
	if _, err := watches[0].Recv(); err == nil {
		t.Error("the oldest goes on")
	}
	eventually(t, "as many are left as may be", func(context.Context) bool { return p.formers() == formerServers })
	p.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	for i, w := range watches[1:] {
		if r, err := w.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("watch %d: %v, %v", i+1, r, err)
		}
	}
	p.watch() // at the server of now
}
