package stream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// The same over real connections: catch up, follow, and go on after the source's process has been replaced.
func TestOverGRPC(t *testing.T) {
	p := newPair(t)
	serve := func(address string) (transport.Transport, string) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		g, err := grpctransport.New(
			grpctransport.Options{Listener: l, FleetID: "test", NodeName: "us-1", Region: "us", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		source := NewSource(SourceConfig{
			Region: "us", Log: p.us.log, History: p.us, Logger: quiet, WindowBytes: testWindow,
		})
		if err := g.Serve(map[string]transport.Handler{Service: source.Handle}); err != nil {
			t.Fatal(err)
		}
		return g, l.Addr().String()
	}
	server, address := serve("127.0.0.1:0")
	for i := range 100 {
		p.us.write(strings.Repeat(fmt.Sprint("catch up ", i), 1000))
	}
	client, err := grpctransport.New(
		grpctransport.Options{FleetID: "test", NodeName: "eu-1", Region: "eu", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	sink := NewSink(SinkConfig{
		Region: "eu", Transport: client, Taker: p.eu, Logger: quiet, WindowBytes: testWindow,
		Addresses: func() []string { return []string{address} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	p.converge()
	for i := range 200 {
		if i == 100 {
			server.Close()
			server, _ = serve(address)
		}
		p.us.write(fmt.Sprint("follow ", i))
	}
	p.converge()
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Run returned %v", err)
	}
	client.Close()
	server.Close()
	p.close()
}
