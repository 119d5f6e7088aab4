package sim

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sever cuts a process that is killed off from its disk, which keeps all that was written, synced or not: the next
// process finds it in the page cache, and only a power cut tells what of it was durable. What still runs of the dead
// process comes to its end by writing to nowhere.
func (d *disk) sever() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nowhere = vfs.NewMem()
}

// isSevered reports whether the process that had the disk was killed.
func (d *disk) isSevered() bool { return d.elsewhere() != nil }

// elsewhere is where a killed process makes its files, nil for one that lives.
func (d *disk) elsewhere() vfs.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nowhere == nil {
		return nil
	}
	return d.nowhere
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	if d.isSevered() {
		return nil
	}
	return d.FS.MkdirAll(name, perm)
}

// makeNowhere makes a file of a killed process.
func makeNowhere(fs vfs.FS) (vfs.File, error) {
	return fs.Create("nowhere", vfs.WriteCategoryUnspecified)
}

// leave ends the process, and returns its disk: by a power cut, after which the disk has what was synced and some of
// the rest, or, where such are injected, about every other time by a kill.
func (p *process) leave() *vfs.MemFS {
	m := p.member
	if !m.fleet.plan.inject[injectKill] || p.disk.hasFailed() || m.random.IntN(2) == 0 {
		keep := pick(m.random, 0, 0, 50, 100, m.random.IntN(101))
		if p.disk.hasFailed() {
			keep = 0
		}
		m.fleet.trace.tell("power of %s fails; keeps %d%% of what was not synced", m.name, keep)
		return p.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: m.random})
	}
	m.fleet.happened.note(injectKill)
	m.fleet.trace.tell("%s is killed", m.name)
	p.disk.sever()
	return p.memory
}
