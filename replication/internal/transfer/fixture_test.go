package transfer

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// node is a node of a region as far as it moves copies: a state, and what this package makes of it.
type node struct {
	t       *testing.T
	addr    string
	disk    *vfs.MemFS
	engine  *enginetest.Engine
	maker   *copies.Maker
	applied *region.Applied
	applier *region.Applier
	life    *life.Life
	staging *Staging
	shelf   *Shelf
	client  *peer.Client
	others  []string
	formed  map[uint64]string
	unfit   atomic.Bool
	barred  atomic.Value // the name of a region that is given no copy
	term    uint64
	index   uint64
	noLog   error // why no log can be kept behind a copy
	author  *timeline.Machine
	reading time.Duration // of each part of a copy
	made    atomic.Int32  // copies that were begun
	hangs   chan struct{} // nil: the disk does not, until this is closed

	mu   sync.Mutex
	told []contract.Position // of copies for other regions
}

// tells returns what was told of copies for other regions, and forgets it.
func (n *node) tells() []contract.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.told
	n.told = nil
	return told
}

var quiet = slog.New(slog.DiscardHandler)

// inBubble runs body with a network in virtual time.
func inBubble(t *testing.T, body func(t *testing.T, n *memory.Network)) {
	virtual.Test(t, func(t *testing.T) { body(t, memory.NewNetwork(clock.Real, 1)) })
}

// start starts a node at an address that begins with the name of its region.
func start(t *testing.T, net *memory.Network, addr string) *node {
	name, _, _ := strings.Cut(addr, "-")
	n := &node{t: t, addr: addr, disk: vfs.NewCrashableMem(), engine: enginetest.Volatile(), term: 1}
	n.author = timeline.NewMachine(&timeline.State{Region: name})
	n.life = life.New(clock.Real, quiet)
	n.applied = region.NewApplied(&region.View{State: timeline.State{Region: name}}, n.life)
	n.open(net, name)
	t.Cleanup(n.life.Close)
	return n
}

// open builds everything that a start of the process does.
func (n *node) open(net *memory.Network, name string) {
	tr := net.Node(n.addr)
	n.client = peer.NewClient(tr)
	n.staging = NewStaging(StagingConfig{
		Region: name, FS: pebblefs.New(n.disk), Dir: "/staging", Transport: tr, Peers: n, Applied: n.applied,
		Alike: func(formed map[uint64]string) bool {
			return len(formed) == 0 || maps.Equal(formed, n.formed)
		},
		Life: n.life, Clock: clock.Real, Logger: quiet,
	})
	n.maker = copies.NewMaker(pebblefs.New(n.disk), n.engine)
	n.applier = region.NewApplier(region.Config{
		Region: name, Storage: n.engine, Maker: n.maker, Keeper: copies.NewKeeper(n.maker, "/kept", quiet),
		Log: noLog{}, Staging: n.staging, Tails: noTails{}, Proposers: nobody{}, Level: timeline.LevelNow,
		Logger: quiet, Fatal: n.life.Fail,
	}, n.applied)
	n.shelf = NewShelf(ShelfConfig{
		Unfit:  n.unfit.Load,
		Formed: func() map[uint64]string { return n.formed },
		Bars: func(region string) error {
			if any(region) == n.barred.Load() {
				return fmt.Errorf("%w: %s", contract.ErrUnknownRegion, region)
			}
			return nil
		},
		Region: name, FS: pebblefs.New(n.slow()), Dir: "/copies", Source: n, Applied: n.applied,
		Staging: n.staging, Copying: n.copying,
		Life: n.life, Clock: clock.Real, Logger: quiet,
	})
	if _, err := n.applier.Load(&timeline.State{Region: name}); err != nil {
		n.t.Fatal(err)
	}
	questions := peer.NewRegistry(func() error { return nil }, nil)
	n.shelf.Register(questions)
	n.staging.Register(questions, func() uint64 { return n.term })
	services := map[string]transport.Handler{ServiceElder: n.shelf.ServeElder, peer.Service: questions.Serve}
	if !strings.HasSuffix(n.addr, elder) {
		services[Service] = n.shelf.Serve
	}
	if err := tr.Serve(services); err != nil {
		n.t.Fatal(err)
	}
}

// elder ends the address of a node of the version before.
const elder = "-elder"

// slow returns a disk on which what is copied is read so slowly as reading says.
func (n *node) slow() vfs.FS {
	return errorfs.Wrap(n.disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileRead && strings.HasPrefix(op.Path, "/copies") {
			time.Sleep(n.reading)
		}
		return nil
	}))
}

// Sync implements Source. It is the first step of a copy.
func (n *node) Sync() (uint64, error) {
	n.made.Add(1)
	if n.hangs != nil {
		<-n.hangs
	}
	return n.applier.Sync()
}

// Hold implements Source.
func (n *node) Hold(dir string) (*region.Held, error) { return n.applier.Hold(dir) }

// take takes a copy as a node does that does not hear when this one works.
func (n *node) take(r *Request) (*shelved, error) {
	return n.shelf.take(n.t.Context(), &checkpoint.Line{Clock: clock.Real}, r)
}

// Others implements Peers.
func (n *node) Others() []string     { return n.others }
func (n *node) Everywhere() []string { return n.others }

// copying notes what is said of copies for other regions.
func (n *node) copying(_ string, p contract.Position) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, p)
	if p == 0 {
		return nil
	}
	return n.noLog
}

// enter applies a payload as the next entry.
func (n *node) enter(payload []byte) {
	n.t.Helper()
	n.index++
	e := &raftpb.Entry{Index: new(n.index), Term: new(n.term), Data: payload}
	if err := n.applier.Apply([]*raftpb.Entry{e}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) begin(primary string) {
	n.t.Helper()
	c := n.author.Cursor()
	r := timeline.Reign{Epoch: c.Epoch + 1, First: c.Position + 1, Primary: primary, Previous: c.Chain}
	n.must(n.author.Reign(r))
	n.enter(timeline.AppendReign(nil, r))
}

func (n *node) put(values ...string) {
	n.t.Helper()
	c := n.author.Cursor()
	f := timeline.Frame{Epoch: c.Epoch, First: c.Position + 1, Previous: c.Chain}
	for _, v := range values {
		f.Commands = append(f.Commands, timeline.Command{Data: []byte(v)})
	}
	n.must(n.author.Frame(&f))
	n.enter(timeline.AppendFrame(nil, &f))
}

func (n *node) control(c *timeline.Control) {
	n.t.Helper()
	n.must(n.author.Control(c))
	p, err := timeline.EncodeControl(c)
	if err != nil {
		n.t.Fatal(err)
	}
	n.enter(p)
}

func (n *node) must(outcome timeline.Outcome, why string, err error) {
	n.t.Helper()
	if outcome != timeline.Applied || err != nil {
		n.t.Fatal(why, err)
	}
}

// holds checks that a staged copy, complete and durable, has these commands.
func (n *node) holds(id string, want []string) {
	n.t.Helper()
	dir, err := n.staging.Dir(id)
	if err != nil {
		n.t.Fatalf("copy %s: %v", id, err)
	}
	e := enginetest.Volatile()
	m := copies.NewMaker(pebblefs.New(n.disk.CrashClone(vfs.CrashCloneCfg{})), e)
	meta, err := m.Metadata(dir)
	if err == nil {
		err = m.Restore(dir, meta)
	}
	if got := e.Content().Commands; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Fatalf("copy %s has %d commands, %v", id, len(got), err)
	}
}

// staged returns the identities of the copies that are here.
func (n *node) staged() []string {
	names, err := n.disk.List("/staging")
	if err != nil {
		return nil
	}
	return names
}

type noLog struct{}

func (noLog) Term(uint64) (uint64, error)              { return 0, errors.New("no log") }
func (noLog) FirstPosition() (contract.Position, bool) { return 0, false }
func (noLog) Rebase(uint64, contract.Position)         {}

func (noLog) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	return nil, errors.New("no log")
}

type noTails struct{}

func (noTails) Save(timeline.Divergence, *timeline.State, uint64, func(string) error) error {
	return nil
}

type nobody struct{}

func (nobody) Waiting() bool            { return false }
func (nobody) Resolve([]region.Outcome) {}
func (nobody) Overtaken()               {}
