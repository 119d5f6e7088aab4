package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// spoil changes what the store of a node, which does not run, holds of a key: as a disk would that lies about checksums
// too.
func spoil(t *testing.T, c *Config, key string) {
	t.Helper()
	markers, _ := filepath.Glob(filepath.Join(c.Replication.DataDir, storeDir, "*", "marker.manifest.*"))
	if len(markers) != 1 {
		t.Fatalf("databases: %q", markers)
	}
	db, err := pebble.Open(filepath.Dir(markers[0]), &pebble.Options{
		Comparer: mvcc.Comparer, FormatMajorVersion: pebble.FormatNewest,
	})
	if err != nil {
		t.Fatal(err)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := errors.New("no such key")
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.HasPrefix(it.Key(), []byte("K"+key+"\x00")) {
			value := bytes.Clone(it.Value())
			value[len(value)-1] ^= 1
			done = db.Set(bytes.Clone(it.Key()), value, pebble.NoSync)
		}
	}
	if err := errors.Join(done, it.Close(), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// threeAndOne are the settings of a fleet of three nodes of us and one of eu, that are compared every second.
func threeAndOne(t *testing.T) map[string]*Config {
	t.Helper()
	nodes, us := map[string]*Config{}, map[string]string{}
	for _, name := range []string{"us-1", "us-2", "us-3", "eu-1"} {
		c := testConfig(t, name)
		c.Replication.RegionID, c.Replication.InitialPrimary = name[:2], "us"
		// As usual: an election only if there is a reason.
		c.Replication.TickInterval = DefaultConfig().Replication.TickInterval
		c.Compare.Every, c.ListenHTTP = time.Second, freeAddr(t)
		if nodes[name] = c; name != "eu-1" {
			us[name] = c.ListenPeer
		}
	}
	for name, c := range nodes {
		c.Replication.Regions = map[string][]string{"eu": {nodes["eu-1"].ListenPeer}}
		if c.Replication.Nodes = us; name == "eu-1" {
			c.Replication.Nodes = nil
			c.Replication.Regions = map[string][]string{"us": {us["us-1"], us["us-2"], us["us-3"]}}
		}
		c.complete()
	}
	return nodes
}

// A node that holds something else than its region is found by the nodes themselves, leads nothing, answers no reads,
// and has the state of a sibling once an operator says so.
func TestANodeThatDiffersIsFoundAndMended(t *testing.T) {
	nodes := threeAndOne(t)
	stops := map[string]func() error{}
	for name, c := range nodes {
		stops[name] = runNode(t, c)
	}
	client := etcdClient(t, nodes["us-1"], TLS{})
	for _, key := range []string{"a", "b", "c"} {
		eventually(t, "a write", func(ctx context.Context) bool {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := client.Put(ctx, key, "value of "+key)
			return err == nil
		})
	}
	operator := adminClient(t, nodes["us-1"], TLS{})
	eventually(t, "all four are compared whole", func(ctx context.Context) bool {
		return compared(ctx, t, nodes) == len(nodes)
	})
	node, err := operator.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad := "us-2"
	if node.LeaderID == bad {
		bad = "us-3"
	}
	if err := stops[bad](); err != nil {
		t.Fatal(err)
	}
	spoil(t, nodes[bad], "b")
	runNode(t, nodes[bad])
	raised := func(ctx context.Context) bool {
		n, err := operator.Node(ctx)
		return err == nil && slices.ContainsFunc(n.Alarms, func(a admin.Alarm) bool { return a.Kind == admin.Differs })
	}
	eventually(t, "the alarm is raised", raised)
	expectAside(t, nodes, bad)
	done, err := adminClient(t, nodes[bad], TLS{}).Sums().Rebuild(t.Context())
	if err != nil || done.Node != bad || !strings.Contains(done.Kept, "aside") {
		t.Fatalf("rebuilt: %+v, %v", done, err)
	}
	if kept, _ := filepath.Glob(filepath.Join(done.Kept, "contents", "*.sst")); len(kept) == 0 {
		t.Errorf("nothing is kept in %s", done.Kept)
	}
	eventually(t, "the alarm is gone", func(ctx context.Context) bool { return !raised(ctx) })
	there := etcdClient(t, nodes[bad], TLS{})
	eventually(t, "it answers what its region holds", func(ctx context.Context) bool {
		got, err := there.Get(ctx, "b", clientv3.WithSerializable())
		if err == nil && (got.Count != 1 || string(got.Kvs[0].Value) != "value of b") {
			t.Fatalf("after it was mended: %v", got)
		}
		return err == nil
	})
	since := time.Now()
	eventually(t, "all four are compared whole again", func(ctx context.Context) bool {
		return compared(ctx, t, nodes, since) == len(nodes)
	})
	if raised(t.Context()) {
		t.Error("the alarm is raised again")
	}
}

// A node is not compared while the state of another takes the place of what it holds.
func TestWhoIsRebuiltIsNotCompared(t *testing.T) {
	e := &equality{}
	e.rebuilds.Store(true)
	if _, err := e.stand(); err == nil {
		t.Error("it says where it stands")
	}
	if _, err := e.rebuild(t.Context()); !errors.Is(err, replication.ErrNotReady) {
		t.Errorf("a second one: %v", err)
	}
}

// A node that has nothing yet, as one of a region that waits for its first copy, is not compared: there would be
// nothing to compare of the others.
func TestWhoHasNothingIsNotCompared(t *testing.T) {
	store, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: storeDir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e := &equality{store: store}
	if _, err := e.stand(); err == nil || !strings.Contains(err.Error(), "nothing of the history") {
		t.Errorf("it says where it stands: %v", err)
	}
}

// Who took the state of a sibling learns that, and where what was there is, also where no primary answers: he who gave
// the order waits for it for hours, and would wait for the alarm as long.
func TestWhoIsRebuiltSaysSoWithoutAPrimary(t *testing.T) {
	store, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: storeDir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e := &equality{store: store}
	e.propose = func(ctx context.Context, _ []*replication.Command, _ ...replication.ProposeOption) (
		*replication.Receipt, error,
	) {
		if at, bounded := ctx.Deadline(); !bounded || time.Until(at) > alarmTime {
			t.Errorf("it waits until %v", at)
		}
		return nil, replication.ErrNotReady
	}
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	err = e.disarm(ctx, "aside/1")
	if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "aside/1") {
		t.Errorf("%v", err)
	}
}

// compared returns how many nodes were compared whole, of late.
func compared(ctx context.Context, t *testing.T, nodes map[string]*Config, since ...time.Time) (whole int) {
	t.Helper()
	for _, c := range nodes {
		n, err := adminClient(t, c, TLS{}).Node(ctx)
		if err != nil || n.Compare == nil || !n.Compare.Compares {
			continue
		}
		for _, one := range n.Compare.Nodes {
			if one.Why == "" && (len(since) == 0 || one.At.After(since[0])) {
				whole++
			}
		}
	}
	return whole
}

// expectAside expects of a node what it must not do, and of the others that they go on.
func expectAside(t *testing.T, nodes map[string]*Config, bad string) {
	t.Helper()
	c := nodes[bad]
	there := etcdClient(t, c, TLS{})
	eventually(t, "reads are refused there", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := pb.NewKVClient(there.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("b"),
			Serializable: true})
		return status.Code(err) == codes.Unavailable && strings.Contains(fmt.Sprint(err), "something else")
	})
	if body, err := getHTTP("http://"+c.ListenHTTP+"/readyz", nil); err != nil ||
		!strings.Contains(body, "[-]data_corruption failed") {
		t.Errorf("it is ready: %s, %v", body, err)
	}
	for name, c := range nodes {
		if name == bad {
			continue
		}
		client := etcdClient(t, c, TLS{})
		if _, err := client.Put(t.Context(), "d", name); err != nil {
			t.Errorf("%s refuses a write: %v", name, err)
		}
		list, err := client.AlarmList(t.Context())
		if err != nil || len(list.Alarms) != 1 || list.Alarms[0].Alarm != pb.AlarmType_CORRUPT {
			t.Errorf("etcdctl alarm list of %s: %v, %v", name, list, err)
		}
	}
	stream, err := pb.NewMaintenanceClient(there.ActiveConnection()).Snapshot(t.Context(), &pb.SnapshotRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DataLoss { // which no client tries again at the same node
		t.Errorf("it gives a snapshot: %v", err)
	}
	for name, c := range nodes { // whoever leads cannot make it lead
		n, err := adminClient(t, c, TLS{}).Node(t.Context())
		if err != nil || n.LeaderID != name || name == "eu-1" {
			continue
		}
		for _, m := range n.Nodes {
			if m.Name != bad {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := etcdClient(t, c, TLS{}).MoveLeader(ctx, m.ID); err == nil {
				t.Error("it was made leader")
			}
			cancel()
		}
	}
}
