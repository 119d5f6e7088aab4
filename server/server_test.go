package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// logged is a log that may be written and read at the same time.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// freeAddr is an address that stays free until the test listens there, whatever else this machine does: one that the
// system chose could be gone by then.
func freeAddr(t *testing.T) string {
	t.Helper()
	ports := localfleet.AnyPorts()
	t.Cleanup(ports.Close)
	addrs, err := ports.Next(1)
	if err != nil {
		t.Fatal(err)
	}
	return addrs[0]
}

// testConfig returns a node that stands alone.
func testConfig(t *testing.T, name string) *Config {
	t.Helper()
	c := DefaultConfig()
	c.ShutdownTimeout = time.Minute // a busy machine is no failure
	r := &c.Replication
	r.NodeID, r.RegionID, r.DataDir = name, name+"-region", filepath.Join(t.TempDir(), "data")
	c.ListenClient, c.ListenPeer = freeAddr(t), freeAddr(t)
	r.SegmentBytes, c.Store.CacheBytes, c.Store.MemTableBytes = 1<<20, 8<<20, 4<<20
	r.TickInterval = 20 * time.Millisecond
	c.complete()
	return &c
}

// runNode runs a node until the test ends or the returned function is called, which waits for its end.
func runNode(t *testing.T, c *Config) (stop func() error) {
	t.Helper()
	return runNodeWith(t, c, Options{})
}

// runNodeWith is runNode with more that the process knows.
func runNodeWith(t *testing.T, c *Config, o Options) (stop func() error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	log, ours := o.LogTo.(*logged)
	if !ours {
		log = &logged{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	o.Version, o.LogTo = "test", log
	go func() { done <- Run(ctx, c, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil && !t.Failed() {
			t.Errorf("%s: %v", c.Replication.NodeID, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", c.Replication.NodeID, log)
		}
	})
	return stop
}

func adminClient(t *testing.T, c *Config, block TLS) *admin.Client {
	t.Helper()
	secure, err := ClientTLSConfig(block, false)
	if err != nil {
		t.Fatal(err)
	}
	client, err := admin.NewClient([]string{c.ClientURL()}, secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func etcdClient(t *testing.T, c *Config, block TLS) *clientv3.Client {
	t.Helper()
	secure, err := ClientTLSConfig(block, false)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.ClientURL()}, TLS: secure, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// patience bounds what takes moments when the machine has nothing else to do.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, ok func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// One node alone comes up, serves everything on its ports, stops in good order, and has everything when it is back.
func TestNodeAlone(t *testing.T) {
	c := testConfig(t, "solo")
	c.ListenHTTP, c.Pprof = freeAddr(t), true
	stop := runNode(t, c)
	client := etcdClient(t, c, TLS{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Get(ctx, "a")
		return err == nil
	})
	if _, err := client.Put(ctx, "a", "1"); err != nil { // once: a put that is repeated may count twice
		t.Fatal(err)
	}
	open, private := "http://"+c.ListenClient, "http://"+c.ListenHTTP
	for url, want := range map[string]string{
		open + "/health":            `"health":"true"`,
		open + "/version":           `"etcdserver"`,
		open + "/metrics":           `mimir_requests_total{code="OK",method="/etcdserverpb.KV/Put"}`,
		open + "/mimir/v1/node":     `"revision":2`,
		open + "/mimir/v1/nothing":  `"error":"no such call`,
		private + "/metrics":        "mimir_leader 1",
		private + "/health":         `"health":"true"`,
		private + "/livez":          "ok",
		private + "/readyz":         "ok",
		private + "/debug/pprof/":   "goroutine",
		private + "/mimir/v1/fleet": `"primary":"solo-region"`,
	} {
		if body, err := getHTTP(url, nil); err != nil || !strings.Contains(body, want) {
			t.Errorf("%s: %v, no %s in %.300s", url, err, want, body)
		}
	}
	if err := stop(); err != nil {
		t.Fatalf("did not stop in good order: %v", err)
	}
	runNode(t, c)
	eventually(t, "the node is back", func(ctx context.Context) bool {
		_, err := client.Get(ctx, "a")
		return err == nil
	})
	if answer, err := client.Get(ctx, "a"); err != nil || len(answer.Kvs) != 1 {
		t.Errorf("after a restart: %v, %v", answer, err)
	}
}

// The largest request that the configuration takes is one that the log takes, and one byte more is refused as too
// large.
func TestLargestRequest(t *testing.T) {
	c := testConfig(t, "large")
	c.Limits.RequestBytes = replication.CommandBytesLimit
	c.Limits.RequestTimeout = time.Minute // on a machine that is busy otherwise it takes more than the default
	runNode(t, c)
	eventually(t, "large serves", func(ctx context.Context) bool {
		_, err := getHTTP(c.ClientURL()+"/livez", nil)
		return err == nil
	})
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{c.ClientURL()}, Logger: zap.NewNop(), MaxCallSendMsgSize: 2 * replication.CommandBytesLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	value := strings.Repeat("v", replication.CommandBytesLimit)
	const overhead = 1 + 2 + 1 + 1 + 4 // tag of the command; key and value with their tags and lengths
	// A busy disk may take longer than a request.
	eventually(t, "the largest is taken", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "k", value[overhead:])
		if err != nil && !errors.Is(err, rpctypes.ErrTimeout) && !errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail) {
			t.Fatalf("the largest: %v", err)
		}
		return err == nil
	})
	if _, err := client.Put(t.Context(), "k", value[overhead-1:]); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

// Two regions with authorities of their own, and certificates demanded on every connection.
func TestFleetWithMutualTLS(t *testing.T) {
	clients, us, eu := newAuthority(t, "clients"), newAuthority(t, "us"), newAuthority(t, "eu")
	nodes := map[string]*Config{"us": testConfig(t, "us-1"), "eu": testConfig(t, "eu-1")}
	for name, authorities := range map[string][2]*authority{"us": {us, eu}, "eu": {eu, us}} {
		c := nodes[name]
		c.Replication.RegionID, c.Replication.InitialPrimary = name, "us"
		c.ClientTLS, c.PeerTLS = clients.issue(t, name), authorities[0].issue(t, name)
		c.ClientTLS.RequireClientCert, c.PeerTLS.RequireClientCert = true, true
		c.RegionTLS = TLS{CA: authorities[1].file}
	}
	nodes["us"].Replication.Regions = map[string][]string{"eu": {nodes["eu"].ListenPeer}}
	nodes["eu"].Replication.Regions = map[string][]string{"us": {nodes["us"].ListenPeer}}
	nodes["us"].ListenHTTP = freeAddr(t)
	runNode(t, nodes["us"])
	runNode(t, nodes["eu"])
	me := clients.issue(t, "me")
	secondary := etcdClient(t, nodes["eu"], me)
	eventually(t, "a put at the secondary is forwarded and comes back", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if _, err := secondary.Put(ctx, "k", "v"); err != nil {
			return false
		}
		answer, err := secondary.Get(ctx, "k")
		return err == nil && len(answer.Kvs) == 1
	})
	operator := adminClient(t, nodes["us"], me)
	report, err := operator.Switchover(t.Context(), "eu")
	if err != nil || report.To != "eu" || report.Lossy {
		t.Errorf("switchover: %+v, %v", report, err)
	}
	if _, err := adminClient(t, nodes["us"], TLS{CA: clients.file}).Node(t.Context()); err == nil {
		t.Error("the operator's calls are open to whoever has no certificate")
	}
	if body, err := getHTTP("http://"+nodes["us"].ListenHTTP+"/mimir/v1/node", nil); err != nil ||
		!strings.Contains(body, "404") {
		t.Errorf("the plaintext port offers the operator's calls: %s, %v", body, err)
	}
}

// Everything that a start refuses is one clear line.
func TestStartRefuses(t *testing.T) {
	refusal := func(c *Config) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := Run(ctx, c, Options{LogTo: &logged{}})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("got %v", err)
		}
		return err
	}
	c := testConfig(t, "first")
	taken, err := net.Listen("tcp", c.ListenPeer)
	if err != nil {
		t.Fatal(err)
	}
	if err := refusal(c); !strings.Contains(err.Error(), "listen-peer "+c.ListenPeer+": the port is in use") {
		t.Errorf("port in use: %v", err)
	}
	taken.Close()

	stop := runNode(t, c)
	eventually(t, "first serves", func(ctx context.Context) bool {
		_, err := getHTTP(c.ClientURL()+"/livez", nil)
		return err == nil
	})
	same := testConfig(t, "same")
	same.Replication.DataDir = c.Replication.DataDir
	if err := refusal(same); !strings.Contains(err.Error(), "is another process using it") {
		t.Errorf("directory in use: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := refusal(same); !errors.Is(err, replication.ErrIdentity) ||
		!strings.Contains(err.Error(), c.Replication.DataDir) {
		t.Errorf("directory of another node: %v", err)
	}

	file := testConfig(t, "file")
	if err := os.WriteFile(file.Replication.DataDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refusal(file); !strings.Contains(err.Error(), "data-dir "+file.Replication.DataDir) {
		t.Errorf("directory that is a file: %v", err)
	}
	broken := testConfig(t, "broken")
	broken.ClientTLS = TLS{Cert: "none.pem", Key: "none.pem"}
	if err := refusal(broken); !errors.Is(err, ErrConfig) {
		t.Errorf("missing certificate: %v", err)
	}
}

// A client that asks for the members learns those of both regions, if its nodes are told to say so, and outlives the
// loss of the region it knew first.
func TestAClientThatSyncsOutlivesItsRegion(t *testing.T) {
	nodes := map[string]*Config{"us": testConfig(t, "us-1"), "eu": testConfig(t, "eu-1")}
	for name, c := range nodes {
		c.Replication.RegionID, c.Replication.InitialPrimary, c.AdvertiseRegions = name, "us", advertiseAll
	}
	nodes["us"].Replication.Regions = map[string][]string{"eu": {nodes["eu"].ListenPeer}}
	nodes["eu"].Replication.Regions = map[string][]string{"us": {nodes["us"].ListenPeer}}
	stop := runNode(t, nodes["us"])
	runNode(t, nodes["eu"])
	client := etcdClient(t, nodes["us"], TLS{})
	eventually(t, "the client learns both regions", func(ctx context.Context) bool {
		return client.Sync(ctx) == nil && len(client.Endpoints()) == 2
	})
	listed, err := client.MemberList(t.Context())
	if err != nil || len(listed.Members) != 2 {
		t.Fatalf("member list: %v, %v", listed, err)
	}
	eventually(t, "the region that follows holds a write", func(ctx context.Context) bool {
		if _, err := client.Put(ctx, "before", "the loss"); err != nil {
			return false
		}
		there := etcdClient(t, nodes["eu"], TLS{})
		got, err := there.Get(ctx, "before", clientv3.WithSerializable())
		return err == nil && got.Count == 1
	})
	operator := adminClient(t, nodes["eu"], TLS{})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expectReadySecondary(t, nodes["eu"])
	if _, err := operator.Failover(t.Context(), "eu", false); err == nil ||
		!strings.Contains(err.Error(), "unknown: no leader of us answers") {
		t.Errorf("failover without force: %v", err)
	}
	report, err := operator.Failover(t.Context(), "eu", true)
	if err != nil || report.BehindKnown || report.LastHeard == nil || report.LastHeard.AgeSeconds <= 0 {
		t.Fatalf("failover: %+v, %v", report, err)
	}
	eventually(t, "the client writes to the region that is left", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Put(ctx, "k", "v")
		return err == nil
	})
	eventually(t, "the endpoints of both are still known", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return client.Sync(ctx) == nil && len(client.Endpoints()) == 2
	})
	fleet, err := operator.Fleet(t.Context())
	if err != nil || len(fleet.Warnings) != 1 || !strings.Contains(fleet.Warnings[0], "us, which does not answer") {
		t.Errorf("fleet: %+v, %v", fleet, err)
	}
}

// expectReadySecondary expects a node of eu to be ready while us is gone, unless it is asked for a linearizable read.
func expectReadySecondary(t *testing.T, c *Config) {
	t.Helper()
	eventually(t, "the secondary is ready", func(context.Context) bool {
		body, err := getHTTP(c.ClientURL()+"/readyz", nil)
		return err == nil && body == "ok\n"
	})
	body, err := getHTTP(c.ClientURL()+"/readyz?verbose", nil)
	if want := "[+]linearizable_read excluded: region eu "; err != nil || !strings.Contains(body, want) {
		t.Errorf("ready: %s, %v", body, err)
	}
	body, err = getHTTP(c.ClientURL()+"/readyz?linearizable=true", nil)
	want := "[-]linearizable_read failed: the primary of the fleet, us, "
	if err != nil || !strings.Contains(body, want) {
		t.Errorf("a linearizable read: %s, %v", body, err)
	}
}
