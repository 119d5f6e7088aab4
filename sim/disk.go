package sim

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
)

// logFolder is where a node keeps its log.
const logFolder = dataFolder + "/wal/"

// disk is a filesystem in memory whose syncs of log data take time, and which can lose power between any two
// operations. Other syncs are done at once: some are made under a mutex, and a bubble's time stands still while a
// goroutine waits for one.
type disk struct {
	vfs.FS
	mu     sync.Mutex
	random *rand.Rand
	usual  time.Duration // longest usual sync
	slow   time.Duration // the same, as it is now
	fuse   int           // operations left until the power fails; zero: it does not
	fail   func()

	hungUntil time.Time
	hungBy    string    // the kind of fault
	bad       int       // operations left until they fail; zero: they do not
	badWith   error     // what they fail with, nil while they do not
	badUntil  time.Time // zero: for good
	late      bool      // that there is no room is found by syncs
	blind     bool      // what fails is reads
	failed    bool      // an operation failed, and not for lack of room
	lacked    bool      // one found no room
	end       func()    // ends the process, before heal
	patient   bool      // the store is open, and waits for room
	note      func(kind string)
	user      stepper    // nil: nobody whose steps are told of
	nowhere   *vfs.MemFS // nil until the process is killed: killed.go
}

// effect is what an operation does to a disk.
type effect int

const (
	grows   effect = iota // takes room
	settles               // makes durable what was written: some systems find only then that there is no room
	frees
	reads
)

// newDisk returns a disk that notes what kinds of faults its users felt.
func newDisk(fs vfs.FS, random *rand.Rand, slow time.Duration, note func(kind string)) *disk {
	return &disk{FS: fs, random: random, usual: slow, slow: slow, note: note}
}

// arm makes the power fail, by calling fail, before the operations-th change from now on.
func (d *disk) arm(operations int, fail func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.fail = operations, fail
}

// heal ends everything that was armed, and makes the disk what it was.
func (d *disk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.fail, d.hungUntil, d.badWith, d.slow = 0, nil, time.Time{}, nil, d.usual
}

// hang makes syncs of the log take until t is over, as a fault of this kind.
func (d *disk) hang(t time.Duration, kind string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hungUntil, d.hungBy = time.Now().Add(t), kind
}

func (d *disk) setSlow(each time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = each
}

// fill leaves no room from the operations-th change from now on, for as long as lasts; with late, syncs find that.
func (d *disk) fill(operations int, lasts time.Duration, late bool) {
	d.failAfter(operations, errFull, lasts)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = late
}

// blindAfter makes reads fail with err, and nothing else, from the operations-th from now on, for as long as lasts.
func (d *disk) blindAfter(operations int, err error, lasts time.Duration) {
	d.failAfter(operations, err, lasts)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blind = true
}

// failAfter makes changes fail with err from the operations-th from now on, for as long as lasts, zero for good.
func (d *disk) failAfter(operations int, err error, lasts time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad, d.badWith, d.badUntil, d.blind = operations, err, time.Time{}, false
	if lasts > 0 {
		d.badUntil = time.Now().Add(lasts)
	}
}

// hasFailed reports whether an operation did: a process may stop because of it.
func (d *disk) hasFailed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// hasLackedRoom reports whether an operation did: a process may be unable to start because of it, but goes on.
func (d *disk) hasLackedRoom() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lacked
}

// stuckAfter reports whether a moment after t is known in which the disk hangs, fails or has no room.
func (d *disk) stuckAfter(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hungUntil.After(t) || d.badWith != nil && (d.badUntil.IsZero() || d.badUntil.After(t))
}

// changeFor is change of a file. Where Pebble cannot live with an error, its goroutines stand still until the process
// has ended: here it ends then and there. A store that is open waits for room.
func (d *disk) changeFor(vital bool, e effect) error {
	err := d.change(e)
	if err != nil && vital && d.end != nil && !(durable.Full(err) && d.isPatient()) {
		d.end()
		return nil
	}
	return err
}

func (d *disk) isPatient() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.patient
}

// opened says that the store is open.
func (d *disk) opened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.patient = true
}

// isVital reports whether Pebble cannot live with an error of a file.
func isVital(name string) bool {
	return strings.HasPrefix(name, stateFolder) && strings.Contains(name, "MANIFEST")
}

// change is called before each operation that changes something. Its error is that of the operation.
func (d *disk) change(e effect) error {
	d.mu.Lock()
	burnt := false
	if d.fuse > 0 {
		d.fuse--
		burnt = d.fuse == 0
	}
	fail := d.fail
	err := d.broken(e)
	d.mu.Unlock()
	if burnt {
		fail()
	}
	return err
}

// broken counts an operation, and returns what it fails with. The caller holds mu.
func (d *disk) broken(e effect) error {
	full := durable.Full(d.badWith)
	switch {
	case d.badWith == nil, d.blind != (e == reads), full && !d.late && e != grows, full && d.late && e != settles:
		return nil
	case !d.badUntil.IsZero() && time.Now().After(d.badUntil):
		d.badWith = nil
		return nil
	case d.bad > 1:
		d.bad--
		return nil
	}
	if full {
		d.lacked = true
		d.note(injectFull)
	} else {
		d.failed = true
		d.note(injectError)
	}
	return d.badWith
}

// spin lets what is to be synced wait for the disk, unsynced.
func (d *disk) spin() {
	d.mu.Lock()
	wait := time.Duration(d.random.Int64N(int64(d.slow)))
	if d.random.IntN(200) == 0 {
		wait *= 50
	}
	if hung := time.Until(d.hungUntil); hung > wait {
		wait = hung
		d.note(d.hungBy)
	} else if d.slow > d.usual {
		d.note(injectSlow)
	}
	d.mu.Unlock()
	time.Sleep(wait)
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if fs := d.elsewhere(); fs != nil {
		return makeNowhere(fs)
	}
	if d.user != nil {
		d.user.creates(name)
	}
	if err := d.changeFor(isVital(name), grows); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return d.file(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if fs := d.elsewhere(); fs != nil {
		return makeNowhere(fs)
	}
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return d.file(name, f, err)
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d, vital: strings.HasPrefix(name, stateFolder)}, nil
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if fs := d.elsewhere(); fs != nil {
		return makeNowhere(fs)
	}
	if err := d.change(grows); err != nil {
		return nil, err
	}
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.file(to, f, err)
}

// Link implements vfs.FS.
func (d *disk) Link(from, to string) error {
	if d.isSevered() {
		return nil
	}
	if err := d.change(grows); err != nil {
		return err
	}
	return d.FS.Link(from, to)
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	if d.isSevered() {
		return nil
	}
	if err := d.change(frees); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	if d.isSevered() {
		return nil
	}
	if err := d.change(frees); err != nil {
		return err
	}
	return d.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	if d.isSevered() {
		return nil
	}
	if d.user != nil {
		d.user.renames(to, momentWithin)
	}
	if err := d.change(grows); err != nil {
		return err
	}
	err := d.FS.Rename(from, to)
	if err == nil && d.user != nil {
		d.user.renames(to, momentAfter)
	}
	return err
}

// Open implements vfs.FS.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	return d.file(name, f, err)
}

// read is called before each read of a file. Its error is that of the read.
func (d *disk) read() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken(reads)
}

func (d *disk) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d, log: strings.HasPrefix(name, logFolder), vital: isVital(name)}, nil
}

// diskFile is an open file, or a directory.
type diskFile struct {
	vfs.File
	disk  *disk
	log   bool
	vital bool
}

// logs tells of what is about to be written to the log.
func (f *diskFile) logs(p []byte) {
	if f.log && f.disk.user != nil {
		f.disk.user.logged(p)
	}
}

// Read implements vfs.File.
func (f *diskFile) Read(p []byte) (int, error) {
	if err := f.disk.read(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// ReadAt implements vfs.File.
func (f *diskFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.disk.read(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}

// Write implements vfs.File.
func (f *diskFile) Write(p []byte) (int, error) {
	if f.disk.isSevered() {
		return len(p), nil
	}
	f.logs(p)
	if err := f.disk.changeFor(f.vital, grows); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.isSevered() {
		return len(p), nil
	}
	f.logs(p)
	if err := f.disk.changeFor(f.vital, grows); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

// Sync implements vfs.File.
func (f *diskFile) Sync() error {
	if f.disk.isSevered() {
		return nil
	}
	if err := f.disk.changeFor(f.vital, settles); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error {
	if f.log {
		f.disk.spin()
	}
	if f.disk.isSevered() {
		return nil
	}
	if err := f.disk.changeFor(f.vital, settles); err != nil {
		return err
	}
	return f.File.SyncData()
}

// SyncTo implements vfs.File.
func (f *diskFile) SyncTo(length int64) (bool, error) {
	if f.disk.isSevered() {
		return true, nil
	}
	if err := f.disk.changeFor(f.vital, settles); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
