package replication_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// noContext is one misuse.
var noContext context.Context

// alone is the configuration of a region of one node.
func alone() *replication.Config {
	return &replication.Config{
		NodeID: "us-1", RegionID: "us", DataDir: "/data", FS: pebblefs.New(vfs.NewMem()), PeerAddr: "us-1",
		Nodes: map[string]string{"us-1": "us-1"}, Logger: quiet, SegmentBytes: 8 << 10,
	}
}

func TestConfigurationsThatCannotWorkAreRefusedWithTheirValues(t *testing.T) {
	if err := alone().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*replication.Config)
		says   string
	}{
		"no name":      {func(c *replication.Config) { c.NodeID = "" }, `NodeID ""`},
		"no directory": {func(c *replication.Config) { c.DataDir = "" }, `DataDir ""`},
		"two voters": {func(c *replication.Config) { c.Nodes["us-2"] = "us-2" },
			"1, 3, 5 or 7 voters, Nodes has 2"},
		"not among the nodes": {func(c *replication.Config) { c.NodeID = "us-9" }, `"us-9" is not among`},
		"other address": {func(c *replication.Config) { c.PeerAddr = "elsewhere" },
			`whose PeerAddr is "elsewhere"`},
		"shared address": {func(c *replication.Config) {
			c.Nodes["us-2"], c.Nodes["us-3"] = "us-1", "us-3"
		}, "have one address"},
		"own region twice": {func(c *replication.Config) { c.Regions = map[string][]string{"us": {"x"}} },
			"among the others"},
		"no addresses": {
			func(c *replication.Config) { c.Regions = map[string][]string{"eu": nil}; c.InitialPrimary = "us" },
			`region "eu"`},
		"unknown primary": {func(c *replication.Config) { c.InitialPrimary = "ap" }, `"ap" is not a region`},
		"joins through nobody": {func(c *replication.Config) { c.Join, c.Nodes = true, nil },
			"members that the region has"},
		"no primary": {func(c *replication.Config) { c.Regions = map[string][]string{"eu": {"eu-1"}} },
			`primary "" is not`},
		"command too large":  {func(c *replication.Config) { c.MaxCommandBytes = 1 << 30 }, "at most 16777216"},
		"frame too large":    {func(c *replication.Config) { c.MaxFrameBytes = 1 << 30 }, "at most 33554432"},
		"negative size":      {func(c *replication.Config) { c.RetainBytes = -1 }, "RetainBytes is -1"},
		"in flight too few":  {func(c *replication.Config) { c.MaxInflightBytes = 1 }, "less than MaxFrameBytes"},
		"election too early": {func(c *replication.Config) { c.ElectionTicks = 1 }, "ElectionTicks 1"},
		"later level": {func(c *replication.Config) { c.EntryLevel = new(timeline.LevelNow + 1) },
			"EntryLevel is"},
		"negative tick": {func(c *replication.Config) { c.TickInterval = -time.Second }, "TickInterval -1s"},
	} {
		config := alone()
		c.change(config)
		err := config.Validate()
		if !errors.Is(err, replication.ErrConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, made := replication.NewMultiRegionReplicator(config, &ledger{}); !errors.Is(made, replication.ErrConfig) {
			t.Errorf("%s: made with %v", name, made)
		}
	}
	var none *replication.Config
	_, noConfig := replication.NewMultiRegionReplicator(none, &ledger{})
	_, noStorage := replication.NewRaftReplicator(alone(), nil)
	beside := alone()
	beside.Regions, beside.InitialPrimary = map[string][]string{"eu": {"eu-1"}}, "us"
	_, notAlone := replication.NewRaftReplicator(beside, &ledger{})
	for i, err := range []error{none.Validate(), noConfig, noStorage, notAlone} {
		if !errors.Is(err, replication.ErrConfig) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// calls are all that a replicator offers and that can fail, with arguments that are well formed but for the context.
func calls(r *replication.MultiRegionReplicator, ctx context.Context) map[string]error {
	list := map[string]error{"WaitForLeader": r.WaitForLeader(ctx)}
	_, list["Propose"] = r.Propose(ctx, []*replication.Command{{}})
	list["ReadBarrier"] = r.ReadBarrier(ctx, replication.Serializable)
	_, list["BeginRead"] = r.BeginRead(ctx)
	list["WaitPosition"] = r.WaitPosition(ctx, 0)
	list["WaitReceipt"] = r.WaitReceipt(ctx, nil)
	_, list["Ask"] = r.Ask(ctx, nil)
	_, list["Switchover"] = r.Switchover(ctx, "us")
	_, list["AbortSwitchover"] = r.AbortSwitchover(ctx)
	_, list["FormRegion"] = r.FormRegion(ctx)
	_, list["Found"] = r.Found(ctx, "us")
	_, list["Failover"] = r.Failover(ctx, "us", true)
	list["RegionFailover"] = r.RegionFailover(ctx)
	_, list["Tails"] = r.Tails(ctx)
	list["ReadTail"] = r.ReadTail(ctx, "x", func(replication.Epoch, replication.Position, replication.Command) error {
		return nil
	})
	_, _, list["TailReigns"] = r.TailReigns(ctx, "x")
	list["DiscardTail"] = r.DiscardTail(ctx, "x")
	_, list["Members"] = r.Members(ctx)
	_, list["AddMember"] = r.AddMember(ctx, "us-2", "us-2", true)
	list["PromoteMember"] = r.PromoteMember(ctx, 1)
	list["UpdateMember"] = r.UpdateMember(ctx, 1, "us-1")
	list["RemoveMember"] = r.RemoveMember(ctx, 1)
	list["TransferLeader"] = r.TransferLeader(ctx, 1)
	return list
}

func expectAll(t *testing.T, when string, list map[string]error, want error) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if !errors.Is(list[name], want) {
			t.Errorf("%s: %s: %v, want %v", when, name, list[name], want)
		}
	}
}

func TestMisuseIsAnErrorAndNeverAPanic(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Real, 1)
		r, err := replication.NewMultiRegionReplicator(alone(), &ledger{})
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Start(t.Context()); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("started without a transport: %v", err)
		}
		r.SetTransport(network.Node("us-1"))
		if err := r.Start(noContext); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("started without a context: %v", err)
		}
		if err := r.Start(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("started with a context that has ended: %v", err)
		}
		expectAll(t, "before Start", calls(r, t.Context()), replication.ErrNotReady)
		if h := r.Health(); h.State != replication.StateInitializing || h.Healthy || h.Problem == "" {
			t.Errorf("before Start: %+v", h)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err == nil {
			t.Error("started twice")
		}
		if err := r.WaitForLeader(t.Context()); err != nil {
			t.Fatal(err)
		}
		misuseWhileReady(t, r, ended)
		r.SetTransport(network.Node("us-9"))
		if err := r.Shutdown(); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("a transport set after Start was not complained of: %v", err)
		}
		expectAll(t, "after Shutdown", calls(r, t.Context()), replication.ErrClosed)
		if err := r.Apply(&replication.Command{}, time.Second); !errors.Is(err, replication.ErrClosed) {
			t.Errorf("Apply after Shutdown: %v", err)
		}
		if r.IsLeader() || r.IsPrimaryRegion() || r.LeaderID() != "" || r.LeaderAddr() != "" ||
			len(r.Fleet(t.Context()).Regions) != 0 {
			t.Error("a node that was shut down claims to be something")
		}
		if h := r.Health(); h.State != replication.StateClosed || h.Healthy {
			t.Errorf("after Shutdown: %+v", h)
		}
		if err := r.Start(t.Context()); !errors.Is(err, replication.ErrClosed) {
			t.Errorf("started after Shutdown: %v", err)
		}
	})
}

func misuseWhileReady(t *testing.T, r *replication.MultiRegionReplicator, ended context.Context) {
	t.Helper()
	ctx := t.Context()
	expectAll(t, "nil context", calls(r, noContext), replication.ErrArgument)
	expectAll(t, "ended context", calls(r, ended), replication.ErrNotReady)
	expectAll(t, "ended context", calls(r, ended), context.Canceled)
	one := []*replication.Command{{Data: []byte("x")}}
	_, empty := r.Propose(ctx, nil)
	_, hollow := r.Propose(ctx, []*replication.Command{nil})
	_, nowhere := r.Propose(ctx, one, replication.WithRegions(0))
	_, noOption := r.Propose(ctx, one, nil)
	for name, err := range map[string]error{
		"nil command": r.Apply(nil, time.Second), "no timeout": r.Apply(one[0], 0),
		"past timeout": r.ApplyBatch(one, -1),
		"nil batch":    r.ApplyBatch(nil, time.Second), "Propose nothing": empty, "Propose nil": hollow,
		"zero regions": nowhere, "nil option": noOption,
		"level": r.ReadBarrier(ctx, 7), "no visit": r.ReadTail(ctx, "x", nil),
	} {
		if !errors.Is(err, replication.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, k := range []int{-1, replication.MaxRegions + 1, 255, 256, 257, math.MaxInt} {
		if receipt, err := r.Propose(ctx, one, replication.WithRegions(k)); receipt != nil ||
			!errors.Is(err, replication.ErrArgument) {
			t.Errorf("%d regions: %+v, %v", k, receipt, err)
		}
	}
	if _, err := r.Propose(ctx, one, replication.WithRegions(2)); !errors.Is(err, replication.ErrUnknownRegion) {
		t.Errorf("more regions than there are: %v", err)
	}
	if f := r.Fleet(noContext); f == nil {
		t.Error("no picture")
	}
	if h := r.Health(); h.State != replication.StateReady || h.Mode != replication.ModeMultiRegion || !h.IsLeader ||
		h.LeaderAddr != "us-1" {
		t.Errorf("%+v", h)
	}
}

func TestTransportIsSetOnce(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	for name, set := range map[string]func(r *replication.RaftReplicator){
		"nil": func(r *replication.RaftReplicator) { r.SetTransport(nil) },
		"twice": func(r *replication.RaftReplicator) {
			r.SetTransport(network.Node("a"))
			r.SetTransport(network.Node("b"))
		},
	} {
		r, err := replication.NewRaftReplicator(alone(), &ledger{})
		if err != nil {
			t.Fatal(err)
		}
		set(r)
		if err := r.Start(t.Context()); !errors.Is(err, replication.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
		_ = r.Shutdown() // says again what was wrong
	}
}

// stuck is a network on which no question is ever answered, and no connection fails.
type stuck struct{ asked chan struct{} }

func (s stuck) Serve(map[string]transport.Handler) error { return nil }
func (s stuck) Close() error                             { return nil }

func (s stuck) Open(ctx context.Context, _, _ string) (transport.Stream, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestHealthDoesNotWaitForAStartThatWaits(t *testing.T) {
	c := alone()
	c.Nodes["us-2"], c.Nodes["us-3"] = "us-2", "us-3"
	r, err := replication.NewRaftReplicator(c, &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	s := stuck{asked: make(chan struct{}, 1)}
	r.SetTransport(s)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() { started <- r.Start(ctx) }()
	<-s.asked // Start waits for the network
	if h := r.Health(); h.State != replication.StateInitializing {
		t.Errorf("%+v", h)
	}
	cancel()
	<-started
	if err := r.Shutdown(); err != nil {
		t.Error(err)
	}
}

// Two nodes on one directory would write one log twice.
func TestADirectoryHasOneNode(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Real, 1)
		disk := pebblefs.New(vfs.NewMem())
		start := func(addr string) (*replication.RaftReplicator, error) {
			c := alone()
			c.FS = disk
			r, err := replication.NewRaftReplicator(c, &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(network.Node(addr))
			return r, r.Start(t.Context())
		}
		first, err := start("us-1")
		if err != nil {
			t.Fatal(err)
		}
		second, err := start("elsewhere")
		if !errors.Is(err, durable.ErrLocked) {
			t.Errorf("a second node started on the directory: %v", err)
		}
		if err := errors.Join(second.Shutdown(), first.Shutdown()); err != nil {
			t.Fatal(err)
		}
		third, err := start("us-1")
		if err != nil {
			t.Errorf("the lock outlives its node: %v", err)
		}
		if err := third.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}
