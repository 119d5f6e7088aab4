package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/etcdapi"
)

// rereading is a node that runs and reads its settings anew.
type rereading struct {
	t    *testing.T
	told chan struct{}
	next atomic.Pointer[Config]
	log  *logged
}

func runRereading(t *testing.T, c *Config) *rereading {
	r := &rereading{t: t, told: make(chan struct{}), log: &logged{}}
	runNodeWith(t, c, Options{LogTo: r.log, HungUp: r.told, Reload: func() (*Config, error) {
		next := *r.next.Load()
		next.complete()
		return &next, next.Validate()
	}})
	return r
}

// read has it read c, until it has.
func (r *rereading) read(c Config) {
	r.t.Helper()
	const done = "settings read anew"
	before := strings.Count(r.log.String(), done)
	r.next.Store(&c)
	r.told <- struct{}{}
	eventually(r.t, "the settings are read", func(context.Context) bool {
		return strings.Count(r.log.String(), done) > before
	})
}

// The limits of requests change while clients are connected; a watch that is open stays, whatever changes.
func TestLimitsOfARunningNode(t *testing.T) {
	c := testConfig(t, "solo")
	node := runRereading(t, c)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{c.ClientURL()}, Logger: zap.NewNop(), MaxCallSendMsgSize: 64 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	watch := client.Watch(t.Context(), "a", clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	if r := <-watch; !r.Created {
		t.Fatalf("%+v", r)
	}
	put := func(bytes int) error {
		_, err := client.Put(t.Context(), "b", strings.Repeat("x", bytes))
		return err
	}
	ops := func(n int) error {
		var all []clientv3.Op
		for i := range n {
			all = append(all, clientv3.OpPut(fmt.Sprint("t", i), ""))
		}
		_, err := client.Txn(t.Context()).Then(all...).Commit()
		return err
	}
	if err := put(3 << 20); err == nil || !strings.Contains(err.Error(), "ResourceExhausted") {
		t.Errorf("3 MiB by a limit of 1.5: %v", err)
	}
	large := *c
	large.Limits.RequestBytes, large.Limits.TxnOps, large.Limits.ProgressInterval = 8<<20, 300, 100*time.Millisecond
	node.read(large)
	eventually(t, "3 MiB are taken", func(context.Context) bool { // once the client was told to come anew
		return put(3<<20) == nil
	})
	if err := ops(300); err != nil {
		t.Errorf("within the limits of now: %v", err)
	}
	select { // a quiet watch that was there is told of its progress
	case r := <-watch:
		if !r.IsProgressNotify() {
			t.Errorf("%+v, %v", r, r.Err())
		}
	case <-time.After(patience):
		t.Error("the watch that is open knows nothing of the interval of now")
	}
	page, err := http.Post(c.ClientURL()+"/v3/kv/put", "application/json",
		strings.NewReader(`{"key":"Yg==","value":"`+strings.Repeat("eHh4", 5<<18)+`"}`))
	if err != nil || page.StatusCode != http.StatusOK {
		t.Fatalf("over JSON: %v, %v", page, err)
	}
	page.Body.Close()
	small := large
	small.Limits.RequestBytes, small.Limits.TxnOps = 4<<10, 2
	node.read(small)
	if err := put(8 << 10); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("8 KiB by a limit of 4: %v", err)
	}
	if err := ops(3); !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Errorf("3 operations by a limit of 2: %v", err)
	}
	if _, err := client.Put(t.Context(), "a", "seen"); err != nil {
		t.Error(err)
	}
	for r := range watch {
		if r.Err() != nil || len(r.Events) > 0 {
			if r.Err() != nil || string(r.Events[0].Kv.Value) != "seen" {
				t.Errorf("%+v, %v", r, r.Err())
			}
			break
		}
	}
	bounded := small
	bounded.Limits.RequestBytes = 16 << 10
	node.read(bounded)
	if err := put(8 << 10); err != nil {
		t.Error(err)
	}
}

// A setting that can change and would not fit one that waits for a restart waits too.
func TestWhatDoesNotFitWaits(t *testing.T) {
	now, next := *testConfig(t, "solo"), *testConfig(t, "solo")
	now.Replication.MaxCommandBytes, next.Replication = 2<<20, now.Replication
	next.ListenClient, next.ListenPeer, next.AdvertiseClient = now.ListenClient, now.ListenPeer, now.AdvertiseClient
	next.Replication.MaxCommandBytes = 16 << 20
	next.Limits.RequestBytes, next.Limits.TxnOps = 8<<20, 7
	changed, waits := merge(&now, &next)
	if len(changed) != 1 || changed[0].key != "max-txn-ops" || now.Limits.TxnOps != 7 || len(waits) != 2 ||
		now.Limits.RequestBytes != etcdapi.DefaultRequestBytes {
		t.Errorf("changed %v, waits %v, %d", changed, waits, now.Limits.RequestBytes)
	}
}

// One connection has as many streams as is said now, and the port as many connections.
func TestConnectionsOfARunningNode(t *testing.T) {
	c := testConfig(t, "solo")
	node, client := runRereading(t, c), etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	few := *c
	few.Limits.Streams = 16
	node.read(few)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	crowd := etcdClient(t, c, TLS{})
	for i := range 16 { // each with a stream of its own
		own := clientv3.NewWatcher(crowd)
		if r := <-own.Watch(ctx, "a", clientv3.WithCreatedNotify()); !r.Created {
			t.Fatalf("watch %d: %+v", i, r)
		}
	}
	bounded, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, err := crowd.Get(bounded, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request beside 16 streams, which are all: %v", err)
	}
	if _, err := client.Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	few.MaxConnections = 2
	node.read(few)
	third, err := net.Dial("tcp", c.ListenClient)
	if err == nil { // else it is turned away before it hears that it is there
		defer third.Close()
		third.SetReadDeadline(time.Now().Add(patience))
		_, err = third.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a third connection: %v", err)
	}
	few.MaxConnections = 1 << 20
	node.next.Store(&few)
	node.told <- struct{}{}
	eventually(t, "more than there are descriptors for is refused", func(context.Context) bool {
		return strings.Contains(node.log.String(), "all stay as they are") &&
			strings.Contains(node.log.String(), "does not fit into the limit of open files")
	})
}

// Backups and the archive begin, move and end without a restart.
func TestPlacesOfARunningNode(t *testing.T) {
	c := testConfig(t, "us-1")
	node, client := runRereading(t, c), etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	there := func(dir, in string) func(context.Context) bool {
		return func(ctx context.Context) bool {
			client.Put(ctx, "a", "more") //nolint:errcheck // as often as it takes
			found, err := filepath.Glob(filepath.Join(dir, "fleet@*", in))
			return err == nil && len(found) > 0
		}
	}
	for _, dir := range []string{t.TempDir(), t.TempDir()} {
		next := *c
		next.Backup.To, next.Archive.To = "file://"+filepath.ToSlash(dir), "file://"+filepath.ToSlash(dir)
		next.Archive.Every = time.Second
		node.read(next)
		eventually(t, "a backup in "+dir, there(dir, "snapshot@*.mimir"))
		eventually(t, "a segment in "+dir, there(dir, filepath.Join("log", "*.seg")))
		status, err := adminClient(t, c, TLS{}).Node(t.Context())
		if err != nil || status.Backup == nil || status.Backup.To != next.Backup.To || status.Archive == nil {
			t.Errorf("%+v, %v", status, err)
		}
	}
	node.read(*c)
	status, err := adminClient(t, c, TLS{}).Node(t.Context())
	if err != nil || status.Backup != nil || status.Archive != nil {
		t.Errorf("what was ended is told of: %+v, %v", status, err)
	}
	wrong := *c
	wrong.Backup.To, wrong.Backup.CAFile = "s3://b/x?region=r", filepath.Join(t.TempDir(), "none")
	wrong.Limits.TxnOps = 1
	node.next.Store(&wrong)
	node.told <- struct{}{}
	eventually(t, "a place that cannot be opened is refused", func(context.Context) bool {
		return strings.Contains(node.log.String(), "all stay as they are")
	})
	if _, err := client.Txn(t.Context()).Then(clientv3.OpPut("a", ""), clientv3.OpPut("b", "")).Commit(); err != nil {
		t.Errorf("one that is wrong changed something: %v", err)
	}
}

// The page says which settings need no restart, and no others.
func TestFollowedSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(string(page), "What can change does: ")
	told, _, _ = strings.Cut(told, ". The log says")
	for i := range settings {
		if key := settings[i].key; strings.Contains(told, "`"+key+"`") != canChange(key) {
			t.Errorf("%s: needs no restart: %v, and %q says else", key, canChange(key), told)
		}
	}
}
