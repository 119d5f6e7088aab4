package grpctransport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// harbour is a port of the fleets a, b, of a key each, c, of none, and d, which is not served.
type harbour struct {
	*grpctransport.Port
	addr    string
	served  map[string]transport.Transport
	unknown chan string
}

func newHarbour(t *testing.T) *harbour {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &harbour{addr: l.Addr().String(), served: map[string]transport.Transport{}, unknown: make(chan string, 1)}
	h.Port, err = grpctransport.NewPort(grpctransport.PortOptions{
		Options: grpctransport.Options{Listener: l, NodeName: "w1"},
		Fleets: map[string]grpctransport.Fleet{
			"a": {Keys: [][]byte{key(1)}}, "b": {Keys: [][]byte{key(2)}}, "c": {}, "d": {},
		},
		Unknown: func(fleet, from string) { h.unknown <- fleet },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	for _, fleet := range []string{"a", "b", "c"} {
		h.serve(t, fleet)
	}
	h.Serve()
	return h
}

// serve has a fleet answer every stream with its name, and then what it is sent.
func (h *harbour) serve(t *testing.T, fleet string) {
	tr, err := h.Transport(fleet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	h.served[fleet] = tr
	serve(t, tr, func(ctx context.Context, s transport.Stream) error {
		return errors.Join(s.Send([]byte(fleet)), echo(ctx, s))
	})
}

func dialer(t *testing.T, fleet string, keys ...[]byte) transport.Transport {
	tr, _ := tcp(t, func(o *grpctransport.Options) { o.FleetID, o.Keys = fleet, keys })
	return tr
}

// TestAPortOfSeveralFleets leads each peer to the fleet that it names and has the key of, and no other.
func TestAPortOfSeveralFleets(t *testing.T) {
	h := newHarbour(t)
	for _, test := range []struct {
		fleet string
		keys  [][]byte
		want  error
		says  string
	}{
		{fleet: "a", keys: [][]byte{key(1)}},
		{fleet: "b", keys: [][]byte{key(2)}},
		{fleet: "c"},
		{fleet: "c", keys: [][]byte{key(1)}},
		{fleet: "a", want: transport.ErrStranger, says: "give it the fleet key too"},
		{fleet: "b", keys: [][]byte{key(1)}, want: transport.ErrStranger, says: "the key of another fleet"},
		{fleet: "a", keys: [][]byte{key(3)}, want: transport.ErrUnreachable, says: "does not answer the fleet key"},
		{fleet: "d", want: transport.ErrUnreachable, says: `does not serve fleet "d" now`},
		{fleet: "e", want: transport.ErrFleet, says: `w1 serves no fleet "e"`},
	} {
		p, err := call(t, dialer(t, test.fleet, test.keys...), h.addr, []byte("hello"))
		if !errors.Is(err, test.want) || err == nil && string(p) != test.fleet ||
			err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("fleet %s with %d keys: %q, %v", test.fleet, len(test.keys), p, err)
		}
	}
	if fleet := <-h.unknown; fleet != "e" {
		t.Errorf("told of fleet %q", fleet)
	}
	if _, err := h.Transport("e"); err == nil {
		t.Error("there is a transport of a fleet that it is not for")
	}
	twice, err := h.Transport("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := twice.Serve(nil); err == nil {
		t.Error("fleet a is served twice")
	}
	if open := h.Open(); !slices.Equal(open, []string{"a", "b", "c"}) {
		t.Errorf("serves %q", open)
	}
	if err := errors.Join(h.served["a"].Close(), twice.Serve(nil), twice.Close()); err != nil {
		t.Errorf("fleet a is served by one after the other: %v", err)
	}
}

// A fleet that closes ends its streams, also one whose handler waits for what does not come; others go on, and it may
// come back.
func TestAFleetLeavesItsPort(t *testing.T) {
	h := newHarbour(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	streams := map[string]transport.Stream{}
	a := dialer(t, "a", key(1))
	for fleet, tr := range map[string]transport.Transport{"a": a, "b": dialer(t, "b", key(2))} {
		s := open(t, ctx, tr, h.addr, service)
		if p, err := s.Recv(); string(p) != fleet {
			t.Fatalf("%q, %v", p, err)
		}
		streams[fleet] = s
	}
	if err := h.served["a"].Close(); err != nil {
		t.Fatal(err)
	}
	if p, err := streams["a"].Recv(); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("the stream of a: %q, %v", p, err)
	}
	if err := streams["b"].Send([]byte("still")); err != nil {
		t.Fatal(err)
	}
	if p, err := streams["b"].Recv(); string(p) != "still" {
		t.Errorf("the stream of b: %q, %v", p, err)
	}
	h.serve(t, "a")
	for {
		p, err := call(t, a, h.addr, nil)
		if string(p) == "a" {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestAConnectionIsOfOneFleet, so that what ends one fleet's connections does not end another's.
func TestAConnectionIsOfOneFleet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := grpctransport.NewPort(grpctransport.PortOptions{
		Options: grpctransport.Options{Listener: l}, Fleets: map[string]grpctransport.Fleet{"a": {}, "b": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, fleet := range []string{"a", "b"} {
		tr, err := p.Transport(fleet)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		serve(t, tr, func(context.Context, transport.Stream) error { return nil })
	}
	p.Serve()
	c, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []struct{ fleet, says string }{
		{"a", ""}, {"b", `this connection to  is of fleet "a"`}, {"a", ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		s, err := c.NewStream(metadata.AppendToOutgoingContext(ctx, "mimir-fleet-bin", want.fleet),
			&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/mimir/"+service)
		if err == nil {
			err = s.RecvMsg(nil)
		}
		cancel()
		if errors.Is(err, io.EOF) != (want.says == "") || !strings.Contains(err.Error(), want.says) {
			t.Errorf("fleet %s: %v", want.fleet, err)
		}
	}
}
