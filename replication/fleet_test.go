package replication_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// testFleet is a fleet of real nodes with ledgers on a network in memory. It lives in a synctest bubble.
type testFleet struct {
	t       *testing.T
	network *memory.Network
	callers names               // on it
	regions map[string][]string // region to names of nodes
	nodes   map[string]*testNode
	log     slog.Handler              // of all nodes
	adapt   func(*replication.Config) // before each start; may be nil
	joining []string                  // nodes that were added
	said    *lines                    // by all nodes, where a test counts it
	giver   string                    // the node that gives a copy
	// through is what a node that starts has before its network, nil for nothing.
	through func(transport.Transport) transport.Transport
	files   bool // the ledgers make checkpoints and branches of them
}

type testNode struct {
	*replication.MultiRegionReplicator
	region string
	disk   *vfs.MemFS
	ledger *ledger
	up     atomic.Bool

	installs func(dir string) // is called before files of a state are installed; nil: nothing is
}

func inBubble(t *testing.T, regions map[string]int, body func(f *testFleet)) {
	shaped(t, regions, func(*replication.Config) {}, body)
}

// shaped is inBubble with nodes whose configuration is changed by shape.
func shaped(t *testing.T, regions map[string]int, shape func(*replication.Config), body func(f *testFleet)) {
	virtual.Test(t, func(t *testing.T) {
		f := &testFleet{
			t: t, network: memory.NewNetwork(clock.Real, 1), regions: map[string][]string{},
			nodes: map[string]*testNode{}, adapt: shape,
		}
		f.log = slog.NewTextHandler(testOutput(), nil)
		for region, size := range regions {
			for i := range size {
				name := fmt.Sprintf("%s-%d", region, i+1)
				f.regions[region] = append(f.regions[region], name)
				f.nodes[name] = &testNode{region: region, disk: vfs.NewCrashableMem()}
			}
		}
		f.startAll()
		body(f)
		f.stopAll()
	})
}

func (f *testFleet) names() []string {
	var names []string
	for n := range f.nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (f *testFleet) startAll() {
	for _, n := range f.names() {
		f.start(n)
	}
}

func (f *testFleet) stopAll() {
	for _, n := range f.names() {
		if f.nodes[n].up.Load() {
			f.stop(n)
		}
	}
}

func (f *testFleet) configOf(name string) *replication.Config {
	n := f.nodes[name]
	c := &replication.Config{
		NodeID: name, RegionID: n.region, DataDir: "/data", FS: pebblefs.New(n.disk), PeerAddr: name,
		Nodes: map[string]string{}, Regions: map[string][]string{}, InitialPrimary: "us", SegmentBytes: 8 << 10,
		CompactBytes: 128 << 10,
		Logger:       slog.New(f.log),
		OnAsk:        func(context.Context, []byte) ([]byte, error) { return []byte(name), nil },
	}
	for _, peer := range f.regions[n.region] {
		if peer != name || !slices.Contains(f.joining, name) {
			c.Nodes[peer] = peer
		}
	}
	c.Join = slices.Contains(f.joining, name)
	for region, names := range f.regions {
		if region != n.region {
			c.Regions[region] = names
		}
	}
	if f.adapt != nil {
		f.adapt(c)
	}
	return c
}

// join starts a node that was added to a region.
func (f *testFleet) join(region, name string) {
	f.nodes[name] = &testNode{region: region, disk: freshDisk()}
	f.joining = append(f.joining, name)
	f.start(name)
}

func freshDisk() *vfs.MemFS { return vfs.NewCrashableMem() }

func (f *testFleet) start(name string) {
	n := f.nodes[name]
	n.ledger = &ledger{}
	c := f.configOf(name)
	r, err := replication.NewMultiRegionReplicator(c, n.storage(f.files))
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(c))
	if err := r.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	n.MultiRegionReplicator = r
	n.up.Store(true)
}

// quiet drops every line.
var quiet = slog.New(slog.DiscardHandler)

func testOutput() *os.File {
	if os.Getenv("MIMIR_TEST_LOG") != "" {
		return os.Stderr
	}
	f, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	return f
}

// stop returns when whoever was connected to the node has seen that it is gone: what is handed to a connection before
// has an unknown outcome.
func (f *testFleet) stop(name string) {
	if err := f.nodes[name].Shutdown(); err != nil {
		f.t.Errorf("shut down %s: %v", name, err)
	}
	f.nodes[name].up.Store(false)
	virtual.Wait()
}

// kill takes a node's power away: what its disk had not synced is gone.
func (f *testFleet) kill(name string) {
	n := f.nodes[name]
	disk := n.disk.CrashClone(vfs.CrashCloneCfg{})
	f.network.Crash(name)
	f.stop(name)
	n.disk = disk
}

func (f *testFleet) put(node, value string) *replication.Receipt {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	r, err := f.nodes[node].Propose(ctx, []*replication.Command{{Data: []byte(value)}})
	if err != nil {
		f.t.Fatalf("put %s at %s: %v", value, node, err)
	}
	return r
}

// otherThan says how many commands there are, and where they are not as wanted.
func otherThan(has, want []string) string {
	i := 0
	for i < len(has) && i < len(want) && has[i] == want[i] {
		i++
	}
	return fmt.Sprintf("%d commands, want %d: %.200q, want %.200q", len(has), len(want), has[i:min(i+2, len(has))],
		want[i:min(i+2, len(want))])
}

// eventually waits, in virtual time, until every running node's ledger is want.
func (f *testFleet) eventually(want []string) {
	f.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		wrong := ""
		for _, name := range f.names() {
			if n := f.nodes[name]; n.up.Load() && !slices.Equal(n.ledger.commands(), want) {
				wrong += fmt.Sprintf("%s has %s; ", name, otherThan(n.ledger.commands(), want))
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatal(wrong)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cutOff isolates nodes, and waits until the leader of the primary has noticed: what it commits then stays there.
func (f *testFleet) cutOff(primary string, nodes ...string) {
	f.t.Helper()
	for _, n := range nodes {
		f.network.Isolate(n)
	}
	deadline := time.Now().Add(time.Minute)
	connected := func(s replication.SlotStatus) bool { return s.Connected }
	for _, name := range f.regions[primary] {
		for slices.ContainsFunc(f.nodes[name].Health().Slots, connected) {
			if time.Now().After(deadline) {
				f.t.Fatalf("%s still serves a stream", name)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func values(from, to int) []string {
	var v []string
	for i := from; i < to; i++ {
		v = append(v, fmt.Sprintf("c%d", i))
	}
	return v
}

func TestOneNodeTakesWrites(t *testing.T) {
	inBubble(t, map[string]int{"us": 1}, func(f *testFleet) {
		if r := f.put("us-1", "c0"); r.Position != 1 || r.Epoch != 1 || string(r.Results[0]) != "did c0" {
			t.Fatalf("receipt %+v", r)
		}
		f.kill("us-1")
		f.start("us-1")
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
	})
}

func TestWritesReachEveryRegionFromAnyNode(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		for i := range 30 {
			f.put(f.names()[i%6], fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 30))
	})
}

// A write that waits for a second region is answered from any node: with what it waited for, or with the receipt and
// why not, before its caller leaves.
func TestWritesWaitForFurtherRegions(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		put := func(name string) (*replication.Receipt, error) {
			ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
			defer cancel()
			return f.nodes[name].Propose(ctx, []*replication.Command{{Data: []byte("c")}}, replication.WithRegions(2))
		}
		f.put("us-1", "c0")
		for _, name := range f.names() {
			if r, err := put(name); err != nil || r.Regions != 2 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		f.cutOff("us", "eu-1")
		for _, name := range f.regions["us"] {
			r, err := put(name)
			if !errors.Is(err, replication.ErrUnderReplicated) || r == nil || r.Regions != 1 || len(r.Results) != 1 {
				t.Errorf("%s without the other region: %+v, %v", name, r, err)
			}
		}
		f.network.HealAll()
	})
}

func TestWholeFleetLosesPower(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		for i := range 20 {
			f.put("eu-2", fmt.Sprintf("c%d", i))
		}
		shown := map[string]int{}
		for _, n := range f.names() {
			shown[n] = len(f.nodes[n].ledger.commands())
			f.kill(n)
		}
		f.startAll()
		for _, n := range f.names() { // none shows less than it did
			ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
			if err := f.nodes[n].ReadBarrier(ctx, replication.Serializable); err != nil {
				f.t.Errorf("read at %s: %v", n, err)
			}
			cancel()
			if now := len(f.nodes[n].ledger.commands()); now < shown[n] {
				f.t.Errorf("%s showed %d commands, and now %d", n, shown[n], now)
			}
		}
		f.put("eu-1", "c20")
		f.eventually(values(0, 21))
	})
}

func TestSwitchoverLosesNothing(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		r, err := f.nodes["us-2"].Switchover(f.t.Context(), "eu")
		if err != nil {
			t.Fatal(err)
		}
		if r.Epoch != 2 || r.Position != 10 || r.From != "us" {
			t.Fatalf("report %+v", r)
		}
		for i := 10; i < 20; i++ {
			if r := f.put(f.names()[i%6], fmt.Sprintf("c%d", i)); r.Epoch != 2 {
				t.Fatalf("receipt %+v", r)
			}
		}
		f.eventually(values(0, 20))
	})
}

// The history has reigns of the region that lost its disks, and the region has yielded before it can take them from
// the stream.
func TestAFormerPrimaryThatLostAllItsDisksComesBack(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.nodes["us-1"].disk = vfs.NewCrashableMem()
		f.put("eu-1", "c1")
		f.start("us-1")
		f.put("eu-1", "c2")
		f.eventually(values(0, 3))
	})
}

func TestDeposedPrimarySavesItsTailAndRejoins(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		for i := range 10 {
			f.put("us-1", fmt.Sprintf("c%d", i))
		}
		f.eventually(values(0, 10))
		f.cutOff("us", f.regions["eu"]...)
		for i := range 5 {
			f.put("us-1", fmt.Sprintf("lost%d", i))
		}
		for _, n := range f.regions["us"] {
			f.kill(n)
		}
		f.network.HealAll()
		_, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", false)
		if err == nil {
			t.Fatal("failover without force went through")
		}
		// A number of commands would pass for all that is lost.
		said := []string{"is unknown: no leader of us answers", " s ago by us-", ", which eu has; what it acknowledged"}
		for _, part := range said {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "0 commands") {
				t.Errorf("says %q, and not %q", err, part)
			}
		}
		r, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true)
		if err != nil {
			t.Fatal(err)
		}
		if r.Epoch != 2 || r.Position != 10 || !r.Lossy {
			t.Fatalf("report %+v", r)
		}
		for i := 10; i < 20; i++ {
			f.put("eu-2", fmt.Sprintf("c%d", i))
		}
		for _, n := range f.regions["us"] {
			f.start(n)
		}
		f.eventually(values(0, 20))
		for _, name := range f.regions["us"] {
			tails, err := f.nodes[name].Tails(f.t.Context())
			if err != nil || len(tails) != 1 || tails[0].Commands != 5 || tails[0].Fork != 10 {
				t.Fatalf("%s: tails %+v, %v", name, tails, err)
			}
			var lost []string
			err = f.nodes[name].ReadTail(f.t.Context(), tails[0].Name,
				func(_ replication.Epoch, _ replication.Position, c replication.Command) error {
					lost = append(lost, string(c.Data))
					return nil
				})
			if err != nil || !slices.Equal(lost, []string{"lost0", "lost1", "lost2", "lost3", "lost4"}) {
				t.Fatalf("%s: tail %v, %v", name, lost, err)
			}
			if staged, err := f.nodes[name].disk.List("/data/staging"); err != nil || len(staged) != 0 {
				t.Fatalf("%s: staged copies left: %v, %v", name, staged, err)
			}
		}
	})
}

// TestAReturningPrimaryAsksBeforeItAnswers: while a primary was down another region took over; a linearizable read of
// the old one sees what was written there.
func TestAReturningPrimaryAsksBeforeItAnswers(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.kill("us-1")
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			f.t.Fatal(err)
		}
		f.put("eu-1", "c1")
		f.network.SetDelay("us-1", "eu-1", 100*time.Millisecond, 0)
		f.start("us-1")
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
		defer cancel()
		if err := f.nodes["us-1"].WaitForLeader(ctx); err != nil {
			f.t.Fatal(err)
		}
		if err := f.nodes["us-1"].ReadBarrier(ctx, replication.Linearizable); err != nil {
			f.t.Fatal(err)
		}
		if got := f.nodes["us-1"].ledger.commands(); !slices.Equal(got, values(0, 2)) {
			t.Fatalf("a linearizable read sees %v", got)
		}
	})
}

func TestCallsBeforeStartAreRefused(t *testing.T) {
	c := &replication.Config{
		NodeID: "us-1", RegionID: "us", DataDir: "/data", FS: pebblefs.New(vfs.NewMem()), PeerAddr: "us-1",
		Nodes: map[string]string{"us-1": "us-1"}, InitialPrimary: "us",
	}
	n, err := replication.NewMultiRegionReplicator(c, &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, proposed := n.Propose(ctx, []*replication.Command{{Data: []byte("x")}})
	_, moved := n.Switchover(ctx, "us")
	_, failed := n.Failover(ctx, "us", true)
	for i, err := range []error{
		proposed, moved, failed, n.ReadBarrier(ctx, replication.Linearizable), n.WaitPosition(ctx, 1),
		n.RegionFailover(ctx), n.WaitForLeader(ctx),
	} {
		if !errors.Is(err, replication.ErrNotReady) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n.IsLeader() || n.IsPrimaryRegion() || n.LeaderAddr() != "" || n.LeaderID() != "" || n.Health().Healthy ||
		n.Err() != nil {
		t.Error("a node that was not started claims to be something")
	}
	n.Fleet(ctx)
	if err := n.Shutdown(); err != nil {
		t.Error(err)
	}
}
