package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

const testWindow = 32 << 20

var quiet = slog.New(slog.DiscardHandler)

// losses are the errors of the sessions that ended, as a sink logs them.
type losses struct {
	slog.Handler
	met *[]error
}

// lossesTo returns a logger that adds the errors to met.
func lossesTo(met *[]error) *slog.Logger { return slog.New(losses{slog.DiscardHandler, met}) }

func (losses) Enabled(context.Context, slog.Level) bool { return true }

func (l losses) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			*l.met = append(*l.met, err)
		}
		return true
	})
	return nil
}

// region is a region of one node without Raft: what is proposed is appended to a real log and, when it commits, applied
// by the real rules. It is a History and a Taker.
type region struct {
	t    testing.TB
	name string
	fs   *vfs.MemFS

	mu       sync.Mutex
	log      *wal.Log
	machine  *timeline.Machine
	index    uint64   // applied
	last     uint64   // appended
	commands []string // only ever appended to
	counted  uint64
	serving  error
	changed  chan struct{}
	hold     bool // appended entries do not commit
	taking   int  // calls of Take under way; more than one is an error
	term     uint64
	// refuseAfter lets Take fail after so many payloads, once. Zero: never.
	refuseAfter int
}

func newRegion(t testing.TB, name string) *region {
	r := &region{t: t, name: name, fs: vfs.NewCrashableMem()}
	r.open()
	return r
}

// open starts from what the disk holds; everything there counts as committed.
func (r *region) open() {
	r.t.Helper()
	log, err := wal.Open(
		wal.Options{FS: pebblefs.New(r.fs), Dir: "log", SegmentBytes: 64 << 10, CacheBytes: 32 << 10, Logger: quiet})
	if err != nil {
		r.t.Fatalf("open log of %s: %v", r.name, err)
	}
	r.log, r.machine = log, timeline.NewMachine(&timeline.State{Region: r.name})
	r.index, r.last, r.commands, r.counted, r.hold = 0, log.LastIndex(), nil, 0, false
	r.term = 1
	if r.last > 0 {
		r.term, _ = log.Term(r.last)
	}
	r.changed = make(chan struct{})
	r.commit()
}

// restart is a power cut.
func (r *region) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Close()
	r.fs = r.fs.CrashClone(vfs.CrashCloneCfg{})
	r.open()
}

// propose appends payloads and, unless hold is set, applies them.
func (r *region) propose(payloads ...[]byte) {
	r.t.Helper()
	w := wal.Write{}
	kind, term := raftpb.EntryNormal, r.term
	for _, p := range payloads {
		r.last++
		index := r.last
		w.Entries = append(w.Entries, &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: p})
	}
	if err := r.log.Append([]wal.Write{w}, true); err != nil {
		r.t.Errorf("append to %s: %v", r.name, err)
	}
	if !r.hold {
		r.commit()
	}
}

// commit applies everything appended.
func (r *region) commit() {
	for r.index < r.last {
		entries, err := r.log.Entries(r.index+1, r.last+1, 1<<20)
		if err != nil {
			r.t.Errorf("read log of %s: %v", r.name, err)
			return
		}
		for _, e := range entries {
			r.apply(e.GetData())
			r.index = e.GetIndex()
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *region) apply(p []byte) {
	var err error
	switch k, _ := timeline.KindOf(p); k {
	case timeline.KindFrame:
		var f timeline.Frame
		if err = timeline.DecodeFrame(p, &f); err == nil {
			var outcome timeline.Outcome
			if outcome, _, err = r.machine.Frame(&f); outcome == timeline.Applied && err == nil {
				for _, c := range f.Commands {
					r.commands = append(r.commands, string(c.Data))
				}
				r.counted += uint64(len(p))
			}
		}
	case timeline.KindReign:
		var reign timeline.Reign
		if reign, err = timeline.DecodeReign(p); err == nil {
			_, _, err = r.machine.Reign(reign)
			r.counted += uint64(len(p))
		}
	case timeline.KindControl:
		var c *timeline.Control
		if c, err = timeline.DecodeControl(p); err == nil {
			_, _, err = r.machine.Control(c)
		}
	}
	if err != nil {
		r.t.Errorf("apply at %s: %v", r.name, err)
	}
}

// replace loses what is appended and not committed, as a change of leaders does.
func (r *region) replace() {
	r.last = r.index
	r.term++
}

// write appends commands as one frame after everything that is there.
func (r *region) write(commands ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.machine.State().Cursor
	r.propose(frame(at, commands...))
}

// frame returns the frame of commands that follows at.
func frame(at timeline.Cursor, commands ...string) []byte {
	f := timeline.Frame{Epoch: at.Epoch, First: at.Position + 1, Previous: at.Chain}
	for _, c := range commands {
		f.Commands = append(f.Commands, timeline.Command{Data: []byte(c)})
	}
	return timeline.AppendFrame(nil, &f)
}

// reignAt returns the beginning of an epoch after at.
func reignAt(at timeline.Cursor, epoch timeline.Epoch, primary string) []byte {
	return timeline.AppendReign(nil,
		timeline.Reign{Epoch: epoch, First: at.Position + 1, Primary: primary, Previous: at.Chain})
}

// begin makes the region primary of an epoch.
func (r *region) begin(epoch timeline.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.propose(reignAt(r.machine.State().Cursor, epoch, r.name))
}

func (r *region) control(c *timeline.Control) {
	r.t.Helper()
	p, err := timeline.EncodeControl(c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.propose(p)
}

func (r *region) View() View {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.machine.State()
	return View{Cursor: s.Cursor, Index: r.index, Reigns: slices.Clone(s.Reigns), Bytes: r.counted, Serving: r.serving}
}

func (r *region) Cursor() timeline.Cursor  { return r.View().Cursor }
func (r *region) Reigns() []timeline.Reign { return r.View().Reigns }

func (r *region) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

var errDeposed = errors.New("no longer leader")

func (r *region) Settle(context.Context) error { return nil }

func (r *region) Take(ctx context.Context, payloads [][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taking++; r.taking > 1 {
		r.t.Error("Take called twice at once")
	}
	defer func() { r.taking-- }()
	if n := r.refuseAfter; n > 0 {
		if r.refuseAfter = 0; n < len(payloads) {
			r.propose(payloads[:n]...)
			return errDeposed
		}
		return errDeposed
	}
	r.propose(slices.Clone(payloads)...)
	return ctx.Err()
}

// texts returns the commands applied.
func (r *region) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.commands)
}

// pair is a source region and a secondary on one network.
type pair struct {
	t       testing.TB
	network *memory.Network
	us, eu  *region
	source  *Source
	config  SourceConfig
	sink    *Sink
	stop    func() error // the sink
	service string       // as which the source is offered
	nodes   []transport.Transport
}

const usAddress, euAddress = "us-1", "eu-1"

func newPair(t testing.TB) *pair {
	p := &pair{
		t: t, network: memory.NewNetwork(clock.Real, 1), us: newRegion(t, "us"), eu: newRegion(t, "eu"),
		service: Service,
	}
	p.us.begin(1)
	return p
}

// serve offers the source, configured by change.
func (p *pair) serve(change ...func(*SourceConfig)) {
	p.t.Helper()
	p.config = SourceConfig{Region: "us", Log: p.us.log, History: p.us, Logger: quiet, WindowBytes: testWindow}
	for _, f := range change {
		f(&p.config)
	}
	p.source = NewSource(p.config)
	node := p.network.Node(usAddress)
	if err := node.Serve(map[string]transport.Handler{p.service: p.source.Handle}); err != nil {
		p.t.Fatal(err)
	}
	p.nodes = append(p.nodes, node)
}

// newSink makes a sink in a new process of eu.
func (p *pair) newSink(change ...func(*SinkConfig)) (end func()) {
	node := p.network.Node(euAddress)
	c := SinkConfig{
		Region: "eu", Transport: node, Taker: p.eu, Logger: quiet, WindowBytes: testWindow,
		Addresses: func() []string { return []string{usAddress} }, Rand: rand.New(rand.NewPCG(1, 2)),
	}
	for _, f := range change {
		f(&c)
	}
	p.sink = NewSink(c)
	return func() { node.Close() }
}

// follow starts a sink; stop ends it.
func (p *pair) follow(change ...func(*SinkConfig)) {
	end := p.newSink(change...)
	sink := p.sink
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	p.stop = sync.OnceValue(func() error {
		cancel()
		defer end()
		return <-done
	})
}

// outcome runs a sink until it ends by itself, or for a minute.
func (p *pair) outcome() error {
	defer p.newSink()()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.sink.Run(ctx)
}

// close ends everything.
func (p *pair) close() {
	if p.stop != nil {
		p.stop()
	}
	for _, n := range p.nodes {
		n.Close()
	}
	p.us.log.Close()
	p.eu.log.Close()
}

// wait returns once ok, or fails after a minute of (virtual) time.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 60_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// converge waits until both regions hold the same.
func (p *pair) converge() {
	p.t.Helper()
	wait(p.t, "the regions are equal", func() bool { return p.us.Cursor() == p.eu.Cursor() })
	if us, eu := p.us.texts(), p.eu.texts(); !slices.Equal(us, eu) {
		p.t.Fatalf("equal cursors, but commands differ: %d and %d", len(us), len(eu))
	}
}

func numbered(prefix string, from, count int) []string {
	s := make([]string, count)
	for i := range s {
		s[i] = fmt.Sprintf("%s-%06d", prefix, from+i)
	}
	return s
}
