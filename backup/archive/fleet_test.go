package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

var quiet = slog.New(slog.DiscardHandler)

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	objects map[string][]byte
	// onPut, if not nil, is asked before an object is put: false has it fail, with the object there if after says so.
	onPut func(name string) (ok, after bool)
	// onSettle, if not nil, is what comes of making the object of a name durable.
	onSettle func(name string) error
	// onRead, if not nil, is what comes of Get and List.
	onRead error
	lists  int
	gets   int
	// slow is how long a list takes.
	slow time.Duration
}

var errPut = errors.New("the store has failed")

func newShelf() *shelf { return &shelf{objects: map[string][]byte{}} }

func (s *shelf) Put(ctx context.Context, name string, r io.Reader) error {
	text, err := io.ReadAll(r)
	if err = errors.Join(err, ctx.Err(), store.CheckName(name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ok, after := true, false
	if s.onPut != nil {
		ok, after = s.onPut(name)
	}
	if held, found := s.objects[name]; found && !bytes.Equal(held, text) && name != headName {
		return fmt.Errorf("%s is overwritten by something else", name)
	}
	if ok || after {
		s.objects[name] = text
	}
	if !ok {
		return errPut
	}
	return nil
}

func (s *shelf) Settle(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; !ok {
		return store.ErrNotFound
	}
	if s.onSettle != nil {
		return s.onSettle(name)
	}
	return nil
}

// settles has Settle fail from now on, as onSettle says.
func (s *shelf) settles(onSettle func(string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSettle = onSettle
}

// fails has puts fail from now on, as onPut says.
func (s *shelf) fails(onPut func(string) (ok, after bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPut = onPut
}

// unread has what is read fail from now on.
func (s *shelf) unread(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRead = err
}

// listed returns how often the shelf was listed.
func (s *shelf) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

func (s *shelf) Get(_ context.Context, name string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gets++; s.onRead != nil {
		return nil, s.onRead
	}
	text, ok := s.objects[name]
	if !ok {
		return nil, store.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func (s *shelf) List(ctx context.Context, prefix string) (list []store.Object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slow := s.slow
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(slow):
	}
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.lists++; s.onRead != nil {
		return nil, s.onRead
	}
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(name, prefix) {
			list = append(list, store.Object{Name: name, Size: int64(len(s.objects[name]))})
		}
	}
	return list, nil
}

func (s *shelf) Walk(ctx context.Context, prefix string, visit func(store.Object) error) error {
	list, err := s.List(ctx, prefix)
	for _, o := range list {
		if err := visit(o); err != nil {
			return err
		}
	}
	return err
}

func (s *shelf) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
	return nil
}

func (s *shelf) String() string { return "the shelf" }

func (s *shelf) links(t *testing.T) []Link {
	t.Helper()
	links, err := Links(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// fleet is one of real nodes with real stores, in virtual time.
type fleet struct {
	t       *testing.T
	network *memory.Network
	nodes   map[string]*node
	shelf   *shelf
	shape   func(*replication.Config)
}

// node is one of a region of its own, that is called as it is.
type node struct {
	*replication.MultiRegionReplicator
	name  string
	disk  *vfs.MemFS
	store *kv.Store

	archiver *Archiver
	end      func() // of the archiver
}

func inBubble(t *testing.T, regions []string, body func(*fleet)) {
	virtual.Test(t, func(t *testing.T) {
		f := &fleet{t: t, network: memory.NewNetwork(clock.Real, 1), nodes: map[string]*node{}, shelf: newShelf()}
		for _, name := range regions {
			f.nodes[name] = &node{name: name, disk: vfs.NewCrashableMem()}
		}
		for _, name := range regions {
			f.start(name)
		}
		body(f)
		for _, name := range regions {
			f.stop(name)
		}
	})
}

func (f *fleet) start(name string) {
	f.t.Helper()
	n := f.nodes[name]
	c := &replication.Config{
		NodeID: name, RegionID: name, DataDir: "/data", FS: pebblefs.New(n.disk), PeerAddr: name,
		Nodes: map[string]string{name: name}, Regions: map[string][]string{}, InitialPrimary: "us",
		SegmentBytes: 64 << 10, CompactBytes: 64 << 10, Logger: f.logger(), CommandLevel: levelOf,
	}
	for other := range f.nodes {
		if other != name {
			c.Regions[other] = []string{other}
		}
	}
	if f.shape != nil {
		f.shape(c)
	}
	var err error
	if n.store, err = kv.Open(kv.Options{FS: n.disk, Dir: "/kv", CacheBytes: 1 << 20, Logger: quiet}); err != nil {
		f.t.Fatal(err)
	}
	if n.MultiRegionReplicator, err = replication.NewMultiRegionReplicator(c, n.store); err != nil {
		f.t.Fatal(err)
	}
	n.SetTransport(f.network.Node(name))
	if err := n.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) logger() *slog.Logger {
	if os.Getenv("MIMIR_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return quiet
}

func levelOf(p []byte) timeline.Level {
	if command.NeedsUsers(p) {
		return timeline.LevelUsers
	}
	return timeline.LevelFirst
}

func (f *fleet) stop(name string) {
	f.t.Helper()
	n := f.nodes[name]
	n.archive(nil)
	if err := errors.Join(n.Shutdown(), n.store.Close()); err != nil {
		f.t.Error(err)
	}
	virtual.Wait() // until its peers have seen that it is gone
}

// kill takes the power away.
func (f *fleet) kill(name string) {
	n := f.nodes[name]
	disk := n.disk.CrashClone(vfs.CrashCloneCfg{})
	f.network.Crash(name)
	f.stop(name)
	n.disk = disk
}

// archive has the node archive to a store, or if it is nil not any more.
func (n *node) archive(s store.Store, more ...func(*Config)) {
	if n.end != nil {
		n.end()
		n.end = nil
	}
	if s == nil {
		return
	}
	history := replication.HistoryOf(n.MultiRegionReplicator)
	c := Config{
		Store: s, History: history, Leads: history.Leads, Place: PlaceIn(n.store),
		Fleet: "f", Region: n.name, Node: n.name, Interval: 5 * time.Second, Clock: clock.Real, Logger: quiet,
	}
	for _, f := range more {
		f(&c)
	}
	n.archiver = New(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.archiver.Run(ctx)
	}()
	n.end = func() { cancel(); <-done }
}

// archived waits until everything is that is applied at the node now.
func (f *fleet) archived(name string) {
	f.t.Helper()
	n := f.nodes[name]
	f.until("all is archived", func() bool {
		return n.archiver.Status().Position == n.Health().Position && n.archiver.Status().Active
	})
}

func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("not after 10 minutes: %s", what)
		}
	}
}

func (f *fleet) propose(name string, commands ...[]byte) {
	f.t.Helper()
	var list []*replication.Command
	for _, c := range commands {
		list = append(list, &replication.Command{Data: c})
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	if _, err := f.nodes[name].Propose(ctx, list); err != nil {
		f.t.Fatal(err)
	}
}

func put(key, value string, lease int64) []byte {
	return command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease})
}

// image is a snapshot of a store.
type image []byte

func (f *fleet) image(name string) image {
	f.t.Helper()
	var b bytes.Buffer
	if err := f.nodes[name].store.SnapshotTo(&b, nil); err != nil {
		f.t.Fatal(err)
	}
	return b.Bytes()
}

// open returns a store of the image. The caller closes it.
func (i image) open(t *testing.T) *kv.Store {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", CacheBytes: 1 << 20, CountBytes: -1, Logger: quiet})
	if err == nil && i != nil {
		err = s.Restore(bytes.NewReader(i), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// replay returns what becomes of an image, and where that is.
func (f *fleet) replay(i image, epoch replication.Epoch, to Target) (kv.Summary, Reached, error) {
	f.t.Helper()
	links := f.shelf.links(f.t)
	branches, broken, err := Branches(f.t.Context(), f.shelf, links)
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := Choose(branches, broken, epoch)
	if err != nil {
		return kv.Summary{}, Reached{}, err
	}
	s := i.open(f.t)
	defer s.Close()
	r := &Replay{Store: f.shelf, Links: links, Branch: b[0], Others: b[1:], Until: to}
	reached, err := r.Run(f.t.Context(), s)
	if err != nil {
		return kv.Summary{}, reached, err
	}
	sum, err := kv.Summarize(f.t.Context(), s)
	if err != nil {
		f.t.Fatal(err)
	}
	return sum, reached, nil
}

// wantSame fails unless a store that was restored is what the image of a node is.
func (f *fleet) wantSame(what string, got kv.Summary, i image) {
	f.t.Helper()
	s := i.open(f.t)
	defer s.Close()
	want, err := kv.Summarize(f.t.Context(), s)
	if err != nil {
		f.t.Fatal(err)
	}
	if got.Revision != want.Revision || got.Hash != want.Hash || got.Keys != want.Keys || got.Leases != want.Leases ||
		got.Compact != want.Compact || got.Metadata.Chain != want.Metadata.Chain || got.Users != want.Users ||
		got.Metadata.Position != want.Metadata.Position || got.Metadata.Epoch != want.Metadata.Epoch {
		f.t.Errorf("%s: %+v at %+v, want %+v at %+v", what, got, got.Metadata.Position, want, want.Metadata.Position)
	}
}
