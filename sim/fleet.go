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
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// Folders of a node's disk.
const (
	dataFolder  = "/data"
	stateFolder = "/state"
)

// fleet is all nodes of a run. Only the goroutine of the faults starts and ends processes.
type fleet struct {
	plan      *plan
	trace     *trace
	lineage   *lineage
	network   *memory.Network
	members   []*member
	observers []*observer
	work      sync.WaitGroup

	happened *occurrences
	crashes  crashes
	wiped    *wiped // nil: no region was; of the goroutine of the faults, as accepted
	accepted bool   // somebody accepted a loss because of that

	mu       sync.Mutex
	calm     time.Time // from when on nothing keeps nodes from hearing each other, but for what is cut
	cutUntil time.Time
}

// member is a place for a node: a disk, and the process that runs there, if one does.
type member struct {
	fleet  *fleet
	name   string
	region string
	random *rand.Rand
	starts int
	clock  clock.Clock

	// Of the goroutine of the faults.
	started, ended time.Time  // the last life
	old            *vfs.MemFS // the disk before it
	rot            *flip      // what is damaged
	fullUntil      time.Time
	honest         *vfs.MemFS // what the disk would be if it had not lied
	status         membership
	again          bool // it has to be started, as somebody would who reads why it ended

	mu      sync.Mutex
	level   timeline.Level // of the version that runs there
	memory  *vfs.MemFS     // the disk of the last process
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
	lessor  *lease.Lessor // nil: leases are not injected
	rotten  bool          // a bit of its disk had flipped when it began
	gone    atomic.Bool   // the power failed
	frozen  atomic.Bool   // it stands still
	still   time.Time     // until then it stood still; of the goroutine that makes the faults
	once    sync.Once
	left    *vfs.MemFS // what the disk has when the power is back
}

func newFleet(p *plan, j *trace) *fleet {
	f := &fleet{
		plan: p, trace: j, lineage: newLineage(j.wrong), network: memory.NewNetwork(clock.Unsuspended, p.seed),
		happened: newOccurrences(),
	}
	if p.inject[injectFive] && p.size == 5 {
		f.happened.note(injectFive)
	}
	f.network.SetGroups(regionOf)
	for _, region := range p.regions {
		for i := range p.placesOf(region) {
			name := fmt.Sprintf("%s-%d", region, i+1)
			m := &member{
				fleet: f, name: name, region: region, random: stream(p.seed, "member "+name), clock: p.clockOf(name),
				memory: vfs.NewCrashableMem(),
			}
			m.status.spare = i >= p.sizeOf(region)
			if p.inject[injectSkew] {
				f.happened.note(injectSkew)
			}
			f.members = append(f.members, m)
		}
		f.network.SetDelay(region, region, p.near, p.near)
		for _, other := range p.regions {
			if other != region {
				f.network.SetDelay(region, other, p.far, p.jitter)
			}
		}
	}
	f.drawLevels()
	f.lineage.older, f.lineage.note = f.older, f.happened.note
	if p.election != nil {
		f.observe()
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
		Join: m.status.spare, Nodes: map[string]string{}, Regions: map[string][]string{},
		InitialPrimary: f.plan.regions[0], EntryLevel: new(m.level), Clock: m.clock,
		SegmentBytes: 64 << 10, CompactBytes: 128 << 10, RetainBytes: f.plan.retainBytes,
		CheckpointBytes: f.plan.checkpoints,
		Logger:          slog.New(slog.NewTextHandler(f.trace, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
	}
	if e := f.plan.election; e != nil {
		settings := e.settings
		if c.Votes = &settings; m.region == e.never {
			c.Priority = replication.NeverPrimary
		}
	}
	for _, o := range f.members {
		if o.region == m.region && !o.status.spare {
			c.Nodes[o.name] = o.name
		} else if o.region != m.region {
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
	m.startIf(ctx, func(error) bool { return false })
}

// startIf is start where a failure is right if it is expected. One of a damaged or full disk always is.
func (m *member) startIf(ctx context.Context, expected func(error) bool) {
	j := m.fleet.trace
	p := &process{member: m, memory: m.memory, rotten: m.rot != nil}
	if p.rotten {
		m.fleet.happened.note(injectRot)
	}
	if m.fleet.plan.inject[injectOld] && len(filesOf(m.memory, dataFolder)) > 0 { // an empty disk is another disk
		m.old = m.memory.CrashClone(vfs.CrashCloneCfg{})
		if m.rot != nil {
			m.rot.undo(m.old)
		}
	}
	m.starts++
	if c, ok := m.clock.(*machine); ok {
		c.thaw() // what stood still has ended
	}
	m.fleet.disturb(time.Now())
	m.mu.Lock()
	m.started = time.Now()
	m.mu.Unlock()
	p.disk = newDisk(m.memory, stream(m.fleet.plan.seed, fmt.Sprintf("disk %s %d", m.name, m.starts)),
		m.fleet.plan.slowSync, m.fleet.happened.note)
	p.disk.user = p
	if m.fleet.plan.storage == storageKV {
		p.disk.end = p.lose
	}
	if d := time.Until(m.fullUntil); d > 0 {
		p.disk.fill(1, d, false)
	}
	err := p.begin(ctx)
	if err == nil {
		j.tell("start %s at %v", m.name, p.auditor.at.Load())
		m.mu.Lock()
		m.process = p
		m.mu.Unlock()
		return
	}
	p.disk.heal()
	if p.excused() || p.disk.hasLackedRoom() || p.gone.Load() || expected(err) || m.departed(err) || m.outdated(err) {
		j.tell("%s does not start: %v", m.name, err)
	} else {
		j.wrong("1", "%s cannot start: %v", m.name, err)
	}
	m.replaceIf(err)
	m.fleet.network.Crash(m.name)
	if p.storage != nil {
		_ = p.close()
	}
	p.over()
	if p.disk.hasFailed() {
		m.memory = m.memory.CrashClone(vfs.CrashCloneCfg{})
	}
	if m.rot != nil && errors.Is(err, replication.ErrDiskLost) {
		m.giveUp()
	}
}

// excused reports whether the process may fail: something was done to its disk that it cannot live with. With a full
// one it can, once it has started.
func (p *process) excused() bool { return p.rotten || p.disk.hasFailed() }

// begin opens the storage and starts the node.
func (p *process) begin(ctx context.Context) error {
	m := p.member
	storage, err := p.open(m.fleet.plan.storage)
	if err != nil {
		return fmt.Errorf("open storage: %w", err)
	}
	p.auditor = &auditor{
		Storage: storage, lineage: m.fleet.lineage, region: m.region, node: m.name, gone: &p.gone,
		wrong: m.fleet.trace.wrong, meets: p.meets,
	}
	c := m.config(p.disk)
	p.keepLeases(c)
	if m.fleet.hasUsers() || p.lessor != nil {
		c.CommandLevel = commandLevel
	}
	p.MultiRegionReplicator, err = replication.NewMultiRegionReplicator(c, p.auditor.storage())
	if err != nil {
		return err
	}
	p.SetTransport(m.transport())
	if p.gone.Load() { // its store failed before it was on the network
		return fmt.Errorf("%w: the store failed at once", errBroken)
	}
	return p.Start(ctx)
}

func (p *process) open(kind string) (replication.Storage, error) {
	if kind == storageKV {
		s, err := kv.Open(kv.Options{
			FS: p.disk, Dir: stateFolder, CacheBytes: 1 << 20, MemTableBytes: 256 << 10,
			Logger: slog.New(slog.DiscardHandler), OnFailure: p.storeFails,
		})
		if err != nil {
			return nil, err
		}
		p.storage = s
		p.disk.opened()
		return s, nil
	}
	var fs durable.FS
	if kind == storageLedger {
		fs = pebblefs.New(p.disk)
	}
	l, err := openLedger(fs, stateFolder)
	if err != nil {
		return nil, err
	}
	p.storage = l
	return l, nil
}

// storeFails ends the process, as a server does whose store cannot go on.
func (p *process) storeFails(err error) {
	if !p.gone.Load() && !p.excused() {
		p.member.fleet.trace.wrong("1", "store of %s: %v", p.member.name, err)
	}
	p.lose()
}

// lose ends the process at once: the network hears nothing more, and the disk keeps what leave says.
// It can be called from inside the process, in the middle of anything.
func (p *process) lose() {
	p.once.Do(func() {
		m := p.member
		p.gone.Store(true)
		m.fleet.network.Crash(m.name)
		p.left = p.leave()
		p.disk.heal() // what still runs must come to an end
	})
}

// silent reports whether nobody hears what the process says.
func (p *process) silent() bool { return p.gone.Load() || p.frozen.Load() }

// over says that the process has ended: what its store still finds out does nothing to the next one at its place.
func (p *process) over() { p.once.Do(func() {}) }

// bury clears away a process that lost its power, or ended itself.
func (m *member) bury() {
	p := m.current()
	if p == nil {
		return
	}
	if err := p.Err(); err != nil && !p.gone.Load() {
		lied := m.honest != nil && errors.Is(err, replication.ErrDiskLost)
		if p.excused() || lied || m.departed(err) || m.outdated(err) {
			m.fleet.trace.tell("%s stopped itself: %v", m.name, err)
		} else {
			m.fleet.trace.wrong("1", "%s stopped itself: %v", m.name, err)
		}
		p.lose()
	}
	if !p.gone.Load() {
		return
	}
	m.replaceIf(p.Err())
	p.lose() // returns once left is set
	m.end(p)
	m.memory = p.left
	honest := m.honest
	m.honest = nil
	m.repair()
	if honest != nil && errors.Is(p.Err(), replication.ErrDiskLost) {
		m.putRight(honest)
	}
}

// stop ends a process in good order.
func (m *member) stop() {
	if p := m.current(); p != nil && !p.gone.Load() {
		m.fleet.trace.tell("stop %s", m.name)
		m.end(p)
		p.over()
		m.repair()
	}
	m.bury()
}

// close ends what stands beside the node.
func (p *process) close() error {
	if p.lessor != nil {
		p.lessor.Close()
	}
	return p.storage.Close()
}

// end shuts a process down.
func (m *member) end(p *process) {
	m.mu.Lock()
	m.process = nil
	m.mu.Unlock()
	m.ended = time.Now()
	done := make(chan error, 1)
	go func() { done <- p.Shutdown() }()
	select {
	case err := <-done:
		if err = errors.Join(err, p.close()); err != nil && !p.gone.Load() && !p.excused() && !durable.Full(err) {
			m.fleet.trace.wrong("15", "shut down %s: %v", m.name, err)
		}
	case <-time.After(5 * time.Minute):
		panic(fmt.Sprintf("sim: seed %d: %s does not shut down\n%s", m.fleet.plan.seed, m.name,
			m.fleet.trace.last(200)))
	}
}
