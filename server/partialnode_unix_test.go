//go:build unix

package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/partial"
)

const partialSecret = "0123456789abcdef0123456789abcdef"

// writeText writes a file, and returns its name.
func writeText(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// partialOptions are those of a node of region edge that follows a prefix of what a node has.
func partialOptions(t *testing.T, of *Config, prefix string) PartialOptions {
	t.Helper()
	return PartialOptions{
		Fleet: of.Replication.FleetID, Region: "edge", Name: "edge-1", Prefixes: []string{prefix},
		From: []string{of.ListenClient}, SecretFile: writeText(t, partialSecret+"\n"),
		DataDir: filepath.Join(t.TempDir(), "data"), Listen: freeAddr(t), CacheBytes: 1 << 20,
		CompareEvery: time.Second, Version: "test", Logger: slog.New(slog.NewTextHandler(&logged{}, nil)),
	}
}

// runPartial runs one until the test ends or the returned function is called.
func runPartial(t *testing.T, o PartialOptions) (stop func() error) {
	t.Helper()
	log := &logged{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- RunPartial(ctx, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", o.Name, log)
		}
	})
	return stop
}

func clientOfPartial(t *testing.T, o *PartialOptions, block TLS) (*clientv3.Client, *admin.Client) {
	t.Helper()
	secure, err := ClientTLSConfig(block, false)
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if secure != nil {
		scheme = "https://"
	}
	asks, err := admin.NewClient([]string{scheme + o.Listen}, secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asks.Close)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{scheme + o.Listen}, TLS: secure, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, asks
}

// Over TLS on both sides, and encrypted on its disk, a partial region follows, serves, writes and comes back; who is
// signed by somebody else is refused at each of its ends, before a secret is shown.
func TestAPartialNodeByTLS(t *testing.T) {
	ours, edges, others := newAuthority(t, "ours"), newAuthority(t, "edges"), newAuthority(t, "others")
	c := testConfig(t, "node")
	c.ClientTLS = ours.issue(t, "node")
	c.ClientTLS.RequireClientCert = true
	c.PartialRegionsFile = writeText(t, "edge "+partialSecret+" "+secretKey[:4]+"\n")
	runNode(t, c)
	whole := etcdClient(t, c, ours.issue(t, "writer"))
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := whole.Put(ctx, secretKey, secretValue)
		return err == nil
	})
	o := partialOptions(t, c, secretKey[:4])
	line, _ := atrest.NewKey()
	o.EncryptionKeyFile, o.SourceTLS, o.TLS = keyFile(t, line), ours.issue(t, "edge"), edges.issue(t, "edge")
	o.SourceTLS.RequireClientCert, o.TLS.RequireClientCert = false, true
	for i, value := range []string{"first", "second"} {
		stop := runPartial(t, o)
		edge, asks := clientOfPartial(t, &o, edges.issue(t, "reader"))
		eventually(t, "it is equal to its source", func(ctx context.Context) bool {
			s, err := admin.PartialStanding(ctx, asks)
			return err == nil && s.Shows && !s.Compared.IsZero() && s.Copies == uint64(1-i)
		})
		if _, err := edge.Put(t.Context(), secretKey+value, secretValue+value); err != nil {
			t.Fatal(err)
		}
		got, err := edge.Get(t.Context(), secretKey, clientv3.WithPrefix())
		if err != nil || len(got.Kvs) != 2+i || string(got.Kvs[0].Value) != secretValue {
			t.Errorf("%v, %v", got, err)
		}
		for what, block := range map[string]TLS{"a stranger": others.issue(t, "reader"), "nobody": {CA: edges.file}} {
			block.CA = edges.file
			stranger, _ := clientOfPartial(t, &o, block)
			bounded, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if got, err := stranger.Get(bounded, secretKey, clientv3.WithSerializable()); err == nil {
				t.Errorf("%s reads %v", what, got)
			}
			cancel()
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if names := seen(t, o.DataDir); len(names) > 0 {
		t.Errorf("%q", names)
	}
	bare := o
	bare.EncryptionKeyFile = ""
	if err := RunPartial(t.Context(), bare); err == nil {
		t.Error("it starts without the key of its directory")
	}
	strangers := partialOptions(t, c, secretKey[:4])
	strangers.SourceTLS = TLS{CA: others.file}
	runPartial(t, strangers)
	_, asks := clientOfPartial(t, &strangers, TLS{})
	eventually(t, "it refuses a node that others signed", func(ctx context.Context) bool {
		s, err := admin.PartialStanding(ctx, asks)
		return err == nil && strings.Contains(s.Problem, "certificate signed by unknown authority")
	})
}

// Where certificates are users, who shows no token at a partial region is not who its own certificate names.
func TestTheCertificateOfAPartialNodeIsNobodys(t *testing.T) {
	a := newAuthority(t, "clients")
	c := testConfig(t, "node")
	c.ClientTLS = a.issue(t, "node")
	c.ClientTLS.RequireClientCert = true
	c.PartialRegionsFile = writeText(t, "edge "+partialSecret+" /a/\n")
	runNode(t, c)
	root := etcdClient(t, c, a.issue(t, "root"))
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := root.Put(ctx, "/a/x", "1")
		return err == nil
	})
	_, noUser := root.UserAdd(t.Context(), "root", "r")
	_, noRole := root.RoleAdd(t.Context(), "root")
	_, noGrant := root.UserGrantRole(t.Context(), "root", "root")
	_, noAuth := root.AuthEnable(t.Context())
	if err := errors.Join(noUser, noRole, noGrant, noAuth); err != nil {
		t.Fatal(err)
	}
	o := partialOptions(t, c, "/a/")
	o.SourceTLS = a.issue(t, "root")
	o.SourceTLS.RequireClientCert = false
	runPartial(t, o)
	edge, asks := clientOfPartial(t, &o, TLS{})
	eventually(t, "it shows what it holds", func(ctx context.Context) bool {
		s, err := admin.PartialStanding(ctx, asks)
		return err == nil && s.Shows && s.Auth
	})
	const nobody = "user name is empty"
	if got, err := edge.Get(t.Context(), "/a/x"); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("a read: %v, %v", got, err)
	}
	if got, err := edge.Put(t.Context(), "/a/x", "2"); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("a write: %v, %v", got, err)
	}
	known, err := clientv3.New(clientv3.Config{Endpoints: []string{o.Listen}, Username: "root", Password: "r",
		Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	if got, err := known.Get(t.Context(), "/a/x"); err != nil || len(got.Kvs) != 1 {
		t.Errorf("who logs in: %v, %v", got, err)
	}
}

// A node whose store gave up ends, whoever waits for the store for ever.
func TestAPartialNodeEndsWithItsStore(t *testing.T) {
	c := testConfig(t, "node")
	o := partialOptions(t, c, "/a/")
	prefixes, err := o.validate()
	if err != nil {
		t.Fatal(err)
	}
	// Who reads its secret waits for ever.
	if err := errors.Join(os.Remove(o.SecretFile), syscall.Mkfifo(o.SecretFile, 0o600)); err != nil {
		t.Fatal(err)
	}
	n := &partialNode{options: o, failed: make(chan error, 4)}
	if err := errors.Join(os.MkdirAll(o.DataDir, 0o700), n.listen(), n.open(prefixes)); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("the store cannot go on")
	done := make(chan error, 1)
	go func() { done <- n.run(t.Context()) }()
	eventually(t, "it reads its secret", func(context.Context) bool {
		pipe, err := os.OpenFile(o.SecretFile, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { pipe.Close() })
		}
		return err == nil
	})
	n.fail(failure)
	select {
	case err := <-done:
		if !errors.Is(err, failure) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// Nodes with one name are one series each, of the one that is farther behind: two would be an error of the whole page.
func TestFollowersOfOneNameAreOneSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(followerMetrics{report: func() []partial.Report {
		return []partial.Report{{Name: "edge", Nodes: []partial.Following{
			{Node: "e1", Revision: 7, LagSeconds: 1}, {Node: "e1", Revision: 9, LagSeconds: 3},
			{Node: "e2", Revision: 7, LagSeconds: 1}, {Node: "e2", Revision: 5, LagSeconds: -1},
		}}, {Name: "none"}}
	}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"mimir_partial_followers edge": 2, "mimir_partial_followers none": 0,
		"mimir_partial_follower_lag_seconds e1 edge": 3, "mimir_partial_follower_revision e1 edge": 7,
		"mimir_partial_follower_revision e2 edge": 5,
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}

// A partial region that somebody gave the name of a region keeps nobody from moving the primary there.
func TestARegionWithThatNameIsNoPartialOne(t *testing.T) {
	c := testConfig(t, "solo")
	name := c.Replication.RegionID
	c.PartialRegionsFile = writeText(t, name+" "+partialSecret+" /a/\nedge "+partialSecret+" /b/\n")
	runNode(t, c)
	client := adminClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Node(ctx)
		return err == nil
	})
	for to, refused := range map[string]bool{name: false, "edge": true} {
		_, err := client.Failover(t.Context(), to, false)
		if is := err != nil && strings.Contains(err.Error(), "is a partial region"); is != refused {
			t.Errorf("%s: %v", to, err)
		}
	}
}
