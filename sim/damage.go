package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// flip is a bit of a file that is not what was written.
type flip struct {
	path    string
	at      int64
	mask    byte
	damaged []byte // the file with it
	second  *vfs.MemFS
}

// rotDisk starts a node on a disk of which a bit has flipped. It must not start, or stop, or never have needed what was
// damaged; whatever it holds and says is checked as always. Then the disk is as it was: somebody had a second copy.
func (x disks) rotDisk(ctx context.Context) {
	m := x.down()
	if p := x.someone(); m == nil && p != nil {
		m = p.member
		m.stop()
	}
	if m == nil {
		return
	}
	files := filesOf(m.memory, dataFolder)
	if x.fleet.plan.storage == storageKV {
		files = append(files, filesOf(m.memory, stateFolder)...)
	}
	if x.fleet.plan.size == 1 {
		files = withoutLogEnd(files)
	}
	if len(files) == 0 {
		return
	}
	f := flip{path: files[x.random.IntN(len(files))], mask: 1 << x.random.IntN(8), second: m.copyOfDisk()}
	info, err := m.memory.Stat(f.path)
	if err != nil || info.Size() == 0 {
		return
	}
	f.at = x.random.Int64N(info.Size())
	x.tell("bit rot on %s: %s at %d", m.name, f.path, f.at)
	m.rot = &f
	f.on(m.memory)
	f.damaged = contentOf(m.memory, f.path)
	m.start(ctx)
	switch {
	case m.current() != nil || m.rot == nil:
	case isVital(f.path): // a store that takes the last record for torn writes on, before the log shows that it was not
		m.giveUp()
	default:
		m.repair()
	}
}

// withoutLogEnd leaves out the newest segment of the log: its damaged end looks like one that a crash tore, and where a
// region has one node, nobody knows better.
func withoutLogEnd(files []string) []string {
	newest := ""
	for _, path := range files {
		if strings.HasSuffix(path, ".wal") {
			newest = max(newest, path)
		}
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == newest })
}

// copyOfDisk returns what the disk of a member that does not run holds.
func (m *member) copyOfDisk() *vfs.MemFS {
	all := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: stream(m.fleet.plan.seed, "copy")}
	return m.memory.CrashClone(all)
}

// giveUp puts the second copy in the place of a disk that a node gave up before it took part, because it lacks what was
// damaged, or has written in its place.
func (m *member) giveUp() {
	m.memory, m.rot = m.rot.second, nil
}

// telling is how long a file has to be to be known by what it holds.
const telling = 64

// repair puts the flipped bit back on the disk of a member.
func (m *member) repair() {
	if m.rot != nil {
		m.rot.undo(m.memory)
		m.rot = nil
	}
}

// undo puts the flipped bit back, where the file is still there and nothing was written in its place. It may have other
// names too: what a node keeps for itself are links to files of its store, and after a power cut one file each.
func (f flip) undo(fs *vfs.MemFS) {
	names := []string{f.path}
	if _, err := fs.Stat(f.path); err != nil || len(f.damaged) >= telling {
		names = append(filesOf(fs, dataFolder), filesOf(fs, stateFolder)...)
	}
	for _, f.path = range names { // two names of one file are repaired once: it is not damaged any more then
		if bytes.HasPrefix(contentOf(fs, f.path), f.damaged) {
			f.on(fs)
		}
	}
}

// contentOf returns what a file holds, nil if it is not there.
func contentOf(fs *vfs.MemFS, path string) []byte {
	f, err := fs.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	p, _ := io.ReadAll(f)
	return p
}

func (f flip) on(fs *vfs.MemFS) {
	file, err := fs.OpenReadWrite(f.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	defer file.Close()
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, f.at); err != nil {
		return
	}
	b[0] ^= f.mask
	_, _ = file.WriteAt(b, f.at)
	_ = file.Sync()
}

func filesOf(fs *vfs.MemFS, dir string) []string {
	names, _ := fs.List(dir)
	var list []string
	for _, n := range names {
		path := fs.PathJoin(dir, n)
		if info, err := fs.Stat(path); err == nil && info.IsDir() {
			list = append(list, filesOf(fs, path)...)
		} else if err == nil && !strings.HasSuffix(n, "LOCK") {
			list = append(list, path)
		}
	}
	return list
}

// down returns a member that does not run, nil if all do.
func (x *faults) down() *member {
	var list []*member
	for _, m := range x.fleet.members {
		if m.current() == nil && m.status.exists() {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[x.random.IntN(len(list))]
}

// startOld starts a node on the disk that it had before its last life, which was not its first, where somebody of
// another region heard of that life, which it sees to. It has to be refused; then its own disk is put back.
func (x disks) startOld(ctx context.Context) {
	if len(x.fleet.plan.regions) == 1 {
		return
	}
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	x.fleet.startAll(ctx)
	p := x.someone()
	if p == nil {
		return
	}
	m := p.member
	if m.old == nil { // it is in its first life
		m.stop()
		m.start(ctx)
	}
	x.wait(4 * time.Second)
	if p = m.current(); p == nil {
		return
	}
	p.lose()
	m.bury()
	if m.old == nil || !x.remembered(p) {
		return
	}
	own := m.memory
	m.memory = m.old
	x.tell("%s starts on an older copy of its disk", m.name)
	x.fleet.happened.note(injectOld)
	m.startIf(ctx, func(err error) bool { return errors.Is(err, replication.ErrDiskLost) })
	if m.current() != nil {
		x.fleet.trace.wrong("1", "%s runs on an older copy of its disk, and others know it", m.name)
		m.stop()
	}
	m.memory, m.old = own, nil
}

// remembered reports whether a node of another region that runs must have heard of this life, which is over: both ran
// for some rounds of reports, and neither stood still, and nothing was cut or slow.
func (x disks) remembered(life *process) bool {
	m := life.member
	soon := m.ended.Add(-3 * time.Second)
	if x.lastCut.After(soon) || m.started.After(soon) || life.still.After(soon) {
		return false
	}
	for _, p := range x.fleet.running() {
		if p.member.region != m.region && p.member.started.Before(soon) && p.still.Before(soon) {
			return true
		}
	}
	return false
}

// lieDisk takes from a node, at a power cut, what it synced for a while. It must be noticed, or do no harm; if it is
// noticed the disk is put right. The others run, and nothing is cut: somebody is there who can notice.
func (x disks) lieDisk(ctx context.Context) {
	x.fleet.network.HealAll()
	x.noteCut(time.Now())
	x.fleet.startAll(ctx)
	x.wait(2500 * time.Millisecond)
	p := x.someone()
	if p == nil || !others(x.faults, p.member) {
		return
	}
	if x.fleet.plan.size == 3 && x.random.IntN(3) == 0 {
		x.lieInPowerCut(ctx, p)
		return
	}
	m, from, rot := p.member, p.memory.CrashClone(vfs.CrashCloneCfg{}), p.member.rot
	x.tell("disk of %s keeps nothing from now on", m.name)
	x.wait(time.Duration(x.random.IntN(3000)) * time.Millisecond)
	if m.current() != p || p.gone.Load() || !others(x.faults, m) {
		return
	}
	p.lose()
	m.bury()
	if rot != nil {
		rot.undo(from)
	}
	own := m.memory
	m.memory, m.honest = from, own
	x.fleet.happened.note(injectLie)
	m.startIf(ctx, func(err error) bool { return errors.Is(err, replication.ErrDiskLost) })
	m.old = nil
	if m.current() == nil {
		m.memory, m.honest = own, nil
	}
}

// putRight gives a member the disk that kept what it was told to. The others may have heard of the start on the one
// that lied, and rightly refuse a disk on which it is not counted: the node starts once where nobody hears it.
func (m *member) putRight(honest *vfs.MemFS) {
	m.memory, m.fullUntil = honest, time.Time{}
	m.fleet.network.Isolate(m.name)
	defer m.fleet.network.Reconnect(m.name)
	m.start(context.Background())
	m.lose()
}

// others reports whether all other nodes of the member's region run, for a while already, and write what they are sent,
// and nothing is cut. Where none of them is a member for certain, since those that formed the region may have been
// removed, and one that was added may not have been, there are no others.
func others(x *faults, m *member) bool {
	soon := time.Now().Add(-2 * time.Second)
	if x.lastCut.After(soon) {
		return false
	}
	known := 0
	for _, o := range x.fleet.members {
		if o == m || o.region != m.region || !o.status.exists() || o.status.mayBeRemoved() {
			continue
		}
		p := o.current()
		if p == nil || p.gone.Load() || o.started.After(soon) || p.still.After(soon) || p.disk.stuckAfter(soon) {
			return false
		}
		if !o.status.spare {
			known++
		}
	}
	return known > 0
}

var (
	errBroken = errors.New("sim: input/output error")
	errFull   = fmt.Errorf("sim: %w", syscall.ENOSPC)
)
