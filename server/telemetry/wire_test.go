package telemetry

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// named is a transport that knows who opened a stream, as the one over gRPC does.
type named struct {
	transport.Transport
	caller transport.Caller
}

func (n named) Serve(services map[string]transport.Handler) error {
	all := map[string]transport.Handler{}
	for name, h := range services {
		all[name] = func(ctx context.Context, s transport.Stream) error {
			return h(transport.WithCaller(ctx, n.caller), s)
		}
	}
	return n.Transport.Serve(all)
}

// echo sends everything back.
func echo(_ context.Context, s transport.Stream) error {
	for {
		p, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = s.Send(p)
		}
		if err != nil {
			return err
		}
	}
}

// exchange opens a stream and has a message come back.
func exchange(t *testing.T, w transport.Transport, addr, service string) {
	t.Helper()
	s, err := w.Open(t.Context(), addr, service)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Recv(); err != nil || string(p) != "hello" {
		t.Fatalf("%q, %v", p, err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Fatal(err)
	}
}

// What passed before anybody knew who is where is counted to who was there; strangers are counted to nobody (T4); a
// node that is gone takes its series with it.
func TestTheWireIsCountedByNodes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		var peers []Peer
		w := NewWire(named{n.Node("a"), transport.Caller{Region: "eu", Node: "c"}}, "us",
			func() []Peer { return peers })
		b := n.Node("b")
		for side, services := range map[transport.Transport]map[string]transport.Handler{
			w: {"stream/1": echo}, b: {"raft/1": echo, "new/7": echo},
		} {
			if err := side.Serve(services); err != nil {
				t.Fatal(err)
			}
		}
		exchange(t, w, "b", "raft/1")
		held, err := n.Node("c").Open(t.Context(), "a", "stream/1")
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Send([]byte("12345678")); err != nil {
			t.Fatal(err)
		}
		if _, err := held.Recv(); err != nil {
			t.Fatal(err)
		}
		if got := scrape(t, w); len(got) != 0 {
			t.Errorf("nobody is known, and there is %v", got)
		}
		peers = []Peer{
			{ID: 0xb, Region: "us", Name: "b", Addrs: []string{"b"}},
			{ID: 0xc, Region: "eu", Name: "c", Addrs: []string{"nowhere"}},
		}
		exchange(t, w, "b", "new/7")
		w.probe(t.Context()) // b and c know no probes: b says so, c is not there
		expect(t, scrape(t, w), map[string]float64{
			"mimir_peer_sent_bytes_total{us b raft}": 5, "mimir_peer_received_bytes_total{us b raft}": 5,
			"mimir_peer_sent_bytes_total{us b other}": 5, "etcd_network_peer_sent_bytes_total{b}": 10,
			"etcd_network_peer_received_bytes_total{b}": 10, "etcd_network_peer_sent_failures_total{b}": 0,
			"mimir_peer_sent_bytes_total{eu c stream}": 8, "mimir_peer_received_bytes_total{eu c stream}": 8,
			"mimir_peer_failures_total{eu c}": 1, "mimir_peer_failures_total{us b}": 0,
			"mimir_peer_round_trip_seconds{us b}": 1, "mimir_peer_round_trip_seconds{eu c}": 0,
			"etcd_network_peer_round_trip_time_seconds{b}": 1,
		})
		for name := range scrape(t, w) {
			if name == "etcd_network_peer_sent_bytes_total{c}" {
				t.Error("a node of another region is a peer by etcd's names")
			}
		}
		peers = peers[:1]
		for name := range scrape(t, w) {
			if strings.Contains(name, "{eu c") {
				t.Errorf("%s of a node that is gone", name)
			}
		}
		if err := held.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := held.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		w.Close()
		b.Close()
		virtual.Wait()
		if len(w.taken) != 0 {
			t.Errorf("%d streams are held that have ended", len(w.taken))
		}
	})
}

// Only the log's syncs are timed, and nothing else is changed.
func TestOnlyTheLogIsTimed(t *testing.T) {
	dir := t.TempDir()
	d := NewDisk()
	fs := d.Log(nil, filepath.Join(dir, "wal"))
	if err := durable.MakeDir(fs, filepath.Join(dir, "wal")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"other": 0, "wal/1": 1} {
		f, err := fs.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		before := scrape(t, d)["mimir_log_sync_seconds"]
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
		if got := scrape(t, d)["mimir_log_sync_seconds"] - before; got != want {
			t.Errorf("%s: %v syncs of the log", name, got)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.Commit(time.Millisecond)
	expect(t, scrape(t, d), map[string]float64{
		"etcd_disk_wal_fsync_duration_seconds": 1, "etcd_disk_backend_commit_duration_seconds": 1,
	})
}

// T5, of the disk and of what passes between nodes.
func TestCountingElsewhereTakesNoMemory(t *testing.T) {
	d := NewDisk()
	s := &countedWire{quietStream{}, new(flow), 0}
	p := make([]byte, 10)
	if n := testing.AllocsPerRun(100, func() { d.Commit(time.Second); s.Send(p); s.Recv() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type quietStream struct{ transport.Stream }

func (quietStream) Send([]byte) error     { return nil }
func (quietStream) Recv() ([]byte, error) { return nil, nil }

// What the pages about health said is counted by page and check.
func TestChecksAreCounted(t *testing.T) {
	c := new(Checks)
	c.Note("health", "", true)
	c.Note("health", "", false)
	c.Note("readyz", "linearizable_read", true)
	c.Note("readyz", "linearizable_read", false)
	expect(t, scrape(t, c), map[string]float64{
		"etcd_server_health_success": 1, "etcd_server_health_failures": 1,
		"etcd_server_healthcheck{readyz linearizable_read}":                0,
		"etcd_server_healthchecks_total{readyz linearizable_read success}": 1,
		"etcd_server_healthchecks_total{readyz linearizable_read error}":   1,
	})
}

// Addresses at which no node is any more are forgotten, where there are too many; those of nodes are not.
func TestAddressesOfNobodyAreForgotten(t *testing.T) {
	w := NewWire(nil, "us", func() []Peer { return []Peer{{ID: 7, Addrs: []string{"at-0"}}} })
	kept := w.to("at-0")
	for i := range 3 * mostOpened {
		w.to(fmt.Sprint("at-", i))
		if i%mostOpened == 0 {
			w.mu.Lock()
			w.know()
			w.mu.Unlock()
		}
	}
	if w.to("at-0") != kept || len(w.opened) > 2*mostOpened {
		t.Errorf("%d addresses are remembered", len(w.opened))
	}
}
