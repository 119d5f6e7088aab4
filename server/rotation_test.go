package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/trust"
)

// placed is a block whose files stand in a directory of their own, where they are exchanged.
func placed(t *testing.T) TLS {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return TLS{Cert: in("cert"), Key: in("key"), CA: in("ca"), RequireClientCert: true}
}

// exchange puts texts in the place of a file, as a whole.
func exchange(t *testing.T, path string, from ...string) {
	t.Helper()
	var texts [][]byte
	for _, name := range from {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if err := os.WriteFile(path+".next", bytes.Join(texts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

func (b TLS) show(t *testing.T, by *authority, name string) {
	next := by.issue(t, name)
	exchange(t, b.Key, next.Key)
	exchange(t, b.Cert, next.Cert)
}

func (b TLS) believe(t *testing.T, authorities ...*authority) {
	var files []string
	for _, a := range authorities {
		files = append(files, a.file)
	}
	exchange(t, b.CA, files...)
}

// secureRegion runs three nodes that look at their files all the time, and returns them and what ends each.
func secureRegion(t *testing.T, peers, clients *authority) (nodes []*Config, stops []func() error) {
	t.Helper()
	addrs := map[string]string{}
	for i := range 3 {
		c := testConfig(t, fmt.Sprintf("n%d", i+1))
		c.Replication.RegionID, c.Replication.InitialPrimary = "us", "us"
		// As usual: an election only if there is a reason.
		c.Replication.TickInterval = DefaultConfig().Replication.TickInterval
		c.ClientTLS, c.PeerTLS = placed(t), placed(t)
		c.PeerRule.Bind = bindNode
		addrs[c.Replication.NodeID] = c.ListenPeer
		nodes = append(nodes, c)
	}
	for _, c := range nodes {
		c.Replication.Nodes = addrs
		certify(t, c, peers, clients)
		c.PeerTLS.believe(t, peers)
		c.ClientTLS.believe(t, clients)
		stops = append(stops, runNodeWith(t, c, Options{recheck: 20 * time.Millisecond}))
	}
	return nodes, stops
}

// leaveOne ends all nodes but the last, which then hands its leadership to nobody.
func leaveOne(t *testing.T, nodes []*Config, stops []func() error, me TLS) {
	for _, stop := range stops[:len(stops)-1] {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	last := adminClient(t, nodes[len(nodes)-1], me)
	eventually(t, "the last knows that the others are gone", func(ctx context.Context) bool {
		node, err := last.Node(ctx)
		return err == nil && !slices.ContainsFunc(node.Nodes, func(n replication.NodeStatus) bool {
			return n.ID != node.RaftID && n.Reachable
		})
	})
}

// certify gives a node new certificates.
func certify(t *testing.T, c *Config, peers, clients *authority) {
	name, _ := nodeNames(c.Replication.FleetID, c.Replication.RegionID, c.Replication.NodeID)
	c.PeerTLS.show(t, peers, name)
	c.ClientTLS.show(t, clients, name)
}

// inFiles returns the serials of all certificates in the files of a node.
func inFiles(t *testing.T, c *Config) (list []string) {
	for _, path := range []string{c.ClientTLS.Cert, c.ClientTLS.CA, c.PeerTLS.Cert, c.PeerTLS.CA} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			one, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, one.Subject.String()+fmt.Sprintf(" %x", one.SerialNumber))
		}
	}
	slices.Sort(list)
	return list
}

// uses returns what a node shows and trusts, nil if it does not answer.
func uses(ctx context.Context, t *testing.T, c *Config, me TLS) (list []string) {
	node, err := adminClient(t, c, me).Node(ctx)
	if err != nil {
		return nil
	}
	for _, one := range node.TLS.Certificates {
		list = append(list, one.Subject+" "+one.Serial)
	}
	return list
}

// Both chains of authorities are exchanged under a region that is at work: those of nodes and those of clients. A
// client writes the whole time, and none of its writes fails. In the end nobody gets in with what was good in the
// beginning.
func TestRotationOfAllAuthorities(t *testing.T) {
	peers := [2]*authority{newAuthority(t, "peers 1"), newAuthority(t, "peers 2")}
	clients := [2]*authority{newAuthority(t, "clients 1"), newAuthority(t, "clients 2")}
	nodes, stops := secureRegion(t, peers[0], clients[0])
	me := placed(t)
	me.believe(t, clients[:]...)
	me.show(t, clients[0], "writer")
	w := startWriter(t, nodes, me)
	w.more(t, "before", 20)
	everywhere := func(what string, change func(c *Config)) {
		for _, c := range nodes {
			change(c)
		}
		for _, c := range nodes {
			want := inFiles(t, c)
			eventually(t, what, func(ctx context.Context) bool {
				now := uses(ctx, t, c, me)
				slices.Sort(now)
				return slices.Equal(now, want)
			})
		}
		w.more(t, what, 20)
	}
	everywhere("both authorities", func(c *Config) {
		c.PeerTLS.believe(t, peers[:]...)
		c.ClientTLS.believe(t, clients[:]...)
	})
	everywhere("new certificates", func(c *Config) { certify(t, c, peers[1], clients[1]) })
	me.show(t, clients[1], "writer")
	everywhere("no old authorities", func(c *Config) {
		c.PeerTLS.believe(t, peers[1])
		c.ClientTLS.believe(t, clients[1])
	})
	eventually(t, "the writer's connections of before have ended", func(context.Context) bool {
		return w.closed.Load() >= int64(len(nodes))
	})
	w.more(t, "after", 20)
	w.stop(t)
	old := clients[0].issue(t, "late")
	old.CA = me.CA
	if got := uses(t.Context(), t, nodes[0], old); got != nil {
		t.Errorf("a client of the old authority gets in: %v", got)
	}
	leaveOne(t, nodes, stops, me)
}

// writer writes all the time, over connections that it keeps.
type writer struct {
	client *clientv3.Client
	wrote  atomic.Int64
	closed atomic.Int64 // connections
	failed chan error
	cancel context.CancelFunc
	ended  chan struct{}
}

// counted is a connection whose end is counted.
type counted struct {
	net.Conn
	closed *atomic.Int64
	once   atomic.Bool
}

func (c *counted) Close() error {
	if c.once.CompareAndSwap(false, true) {
		c.closed.Add(1)
	}
	return c.Conn.Close()
}

func startWriter(t *testing.T, nodes []*Config, me TLS) *writer {
	t.Helper()
	w := &writer{failed: make(chan error, 1), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	keeper := trust.New(trust.Options{Every: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	dialer, err := keeper.Dialer(me.block("me"))
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, c := range nodes {
		urls = append(urls, c.ClientURL())
	}
	w.client, err = clientv3.New(clientv3.Config{
		Endpoints: urls, TLS: dialer.Config(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return &counted{Conn: c, closed: &w.closed}, nil
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.cancel = cancel
	running := make(chan struct{})
	go func() { defer close(running); keeper.Run(ctx) }()
	eventually(t, "the region takes writes", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := w.client.Put(ctx, "first", "")
		return err == nil
	})
	w.closed.Store(0)
	go func() {
		defer close(w.ended)
		for n := 0; ctx.Err() == nil; n++ {
			bounded, done := context.WithTimeout(context.Background(), time.Minute)
			_, err := w.client.Put(bounded, fmt.Sprintf("k%d", n%100), fmt.Sprint(n))
			done()
			if err != nil {
				w.failed <- fmt.Errorf("write %d: %w", n, err)
				return
			}
			w.wrote.Add(1)
		}
	}()
	t.Cleanup(func() { cancel(); <-w.ended; <-running; w.client.Close() })
	return w
}

// more waits for so many more writes.
func (w *writer) more(t *testing.T, when string, n int64) {
	t.Helper()
	until := w.wrote.Load() + n
	eventually(t, "writes: "+when, func(context.Context) bool {
		select {
		case err := <-w.failed:
			t.Fatalf("%s: %v", when, err)
		default:
		}
		return w.wrote.Load() >= until
	})
}

func (w *writer) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	<-w.ended
	select {
	case err := <-w.failed:
		t.Fatal(err)
	default:
	}
}
