package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// Folders of a node's disk.
const (
	dataFolder  = "/data"
	stateFolder = "/state"
)

// fleet is all nodes of a run. Only the goroutine of the faults starts and ends processes.
type fleet struct {
	plan    *plan
	trace   *trace
	lineage *lineage
	network *memory.Network
	members []*member
	work    sync.WaitGroup
}

// member is a place for a node: a disk, and the process that runs there, if one does.
type member struct {
	fleet  *fleet
	name   string
	region string
	random *rand.Rand
	starts int

	mu      sync.Mutex
	memory  *vfs.MemFS // the disk of the last process
	process *process
}

// process is one life of a node.
type process struct {
	*replication.MultiRegionReplicator
	member  *member
	disk    *disk
	memory  *vfs.MemFS
	storage io.Closer
	auditor *auditor
	gone    atomic.Bool // the power failed
	once    sync.Once
	left    *vfs.MemFS // what the disk has when the power is back
}

func newFleet(p *plan, j *trace) *fleet {
	f := &fleet{plan: p, trace: j, lineage: newLineage(j.wrong), network: memory.NewNetwork(clock.Real, p.seed)}
	f.network.SetGroups(regionOf)
	for _, region := range p.regions {
		for i := range p.size {
			name := fmt.Sprintf("%s-%d", region, i+1)
			f.members = append(f.members, &member{
				fleet: f, name: name, region: region, random: stream(p.seed, "member "+name),
				memory: vfs.NewCrashableMem(),
			})
		}
		f.network.SetDelay(region, region, p.near, p.near)
		for _, other := range p.regions {
			if other != region {
				f.network.SetDelay(region, other, p.far, p.jitter)
			}
		}
	}
	return f
}

func regionOf(name string) string {
	region, _, _ := strings.Cut(name, "-")
	return region
}

// running returns the members whose process runs, as far as anybody can see.
func (f *fleet) running() []*process {
	var list []*process
	for _, m := range f.members {
		if p := m.current(); p != nil && !p.gone.Load() {
			list = append(list, p)
		}
	}
	return list
}

func (m *member) current() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

func (m *member) config(fs vfs.FS) *replication.Config {
	f := m.fleet
	c := &replication.Config{
		NodeID: m.name, RegionID: m.region, DataDir: dataFolder, FS: pebblefs.New(fs), PeerAddr: m.name,
		Nodes: map[string]string{}, Regions: map[string][]string{}, InitialPrimary: f.plan.regions[0],
		SegmentBytes: 64 << 10, CompactBytes: 128 << 10, RetainBytes: f.plan.retainBytes,
		Logger: slog.New(slog.NewTextHandler(f.trace, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
	}
	for _, o := range f.members {
		if o.region == m.region {
			c.Nodes[o.name] = o.name
		} else {
			c.Regions[o.region] = append(c.Regions[o.region], o.name)
		}
	}
	return c
}

// withoutTime leaves to the trace what it notes itself.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// start begins a process on what the disk holds.
func (m *member) start(ctx context.Context) {
	j := m.fleet.trace
	p := &process{member: m, memory: m.memory}
	m.starts++
	p.disk = newDisk(m.memory, stream(m.fleet.plan.seed, fmt.Sprintf("disk %s %d", m.name, m.starts)),
		m.fleet.plan.slowSync)
	storage, err := p.open(m.fleet.plan.storage)
	if err != nil {
		j.wrong("1", "%s cannot open its storage: %v", m.name, err)
		return
	}
	p.auditor = &auditor{
		Storage: storage, lineage: m.fleet.lineage, region: m.region, node: m.name, gone: &p.gone, wrong: j.wrong,
	}
	p.MultiRegionReplicator, err = replication.NewMultiRegionReplicator(m.config(p.disk), p.auditor.storage())
	if err == nil {
		p.SetTransport(m.fleet.network.Node(m.name))
		err = p.Start(ctx)
	}
	if err != nil {
		j.wrong("1", "%s cannot start: %v", m.name, err)
		m.fleet.network.Crash(m.name)
		_ = p.storage.Close()
		return
	}
	at := p.auditor.at.Load()
	j.tell("start %s at %v", m.name, at)
	m.mu.Lock()
	m.process = p
	m.mu.Unlock()
}

func (p *process) open(kind string) (replication.Storage, error) {
	if kind == storageKV {
		s, err := kv.Open(kv.Options{
			FS: p.disk, Dir: stateFolder, CacheBytes: 1 << 20, MemTableBytes: 256 << 10,
			Logger: slog.New(slog.DiscardHandler),
		})
		p.storage = s
		return s, err
	}
	var fs durable.FS
	if kind == storageLedger {
		fs = pebblefs.New(p.disk)
	}
	l, err := openLedger(fs, stateFolder)
	p.storage = l
	return l, err
}

// lose takes the power away: the network hears nothing more, and the disk keeps what was synced and some of the rest.
// It can be called from inside the process, in the middle of anything.
func (p *process) lose() {
	p.once.Do(func() {
		m := p.member
		p.gone.Store(true)
		m.fleet.network.Crash(m.name)
		keep := pick(m.random, 0, 0, 50, 100, m.random.IntN(101))
		p.left = p.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: m.random})
		m.fleet.trace.tell("power of %s fails; keeps %d%% of what was not synced", m.name, keep)
	})
}

// bury clears away a process that lost its power, or ended itself.
func (m *member) bury() {
	p := m.current()
	if p == nil {
		return
	}
	if err := p.Err(); err != nil && !p.gone.Load() {
		m.fleet.trace.wrong("1", "%s stopped itself: %v", m.name, err)
		p.lose()
	}
	if !p.gone.Load() {
		return
	}
	p.lose() // returns once left is set
	m.end(p)
	m.memory = p.left
}

// stop ends a process in good order.
func (m *member) stop() {
	if p := m.current(); p != nil && !p.gone.Load() {
		m.fleet.trace.tell("stop %s", m.name)
		m.end(p)
	}
	m.bury()
}

// end shuts a process down.
func (m *member) end(p *process) {
	m.mu.Lock()
	m.process = nil
	m.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- p.Shutdown() }()
	select {
	case err := <-done:
		if err = errors.Join(err, p.storage.Close()); err != nil && !p.gone.Load() {
			m.fleet.trace.wrong("15", "shut down %s: %v", m.name, err)
		}
	case <-time.After(5 * time.Minute):
		panic(fmt.Sprintf("sim: seed %d: %s does not shut down\n%s", m.fleet.plan.seed, m.name,
			m.fleet.trace.last(200)))
	}
}
