package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
)

// smallDisk is a filesystem in memory that has so much room. What is linked is there once.
type smallDisk struct {
	vfs.FS
	mu    sync.Mutex
	size  int64
	used  int64
	files map[string]*inode
}

type inode struct {
	bytes int64
	names int
}

func newSmallDisk(size int64) *smallDisk {
	return &smallDisk{FS: vfs.NewMem(), size: size, files: map[string]*inode{}}
}

func (d *smallDisk) resize(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = size
}

func (d *smallDisk) taken() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{
		AvailBytes: uint64(max(0, d.size-d.used)), TotalBytes: uint64(d.size), UsedBytes: uint64(d.used),
	}, nil
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	d.unlink(name)
	n := &inode{names: 1}
	d.files[name] = n
	return &smallFile{f, d, n}, nil
}

// unlink takes a name away. mu is held.
func (d *smallDisk) unlink(name string) {
	if n := d.files[name]; n != nil {
		if n.names--; n.names == 0 {
			d.used -= n.bytes
		}
		delete(d.files, name)
	}
}

func (d *smallDisk) Link(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.FS.Link(from, to)
	if n := d.files[from]; err == nil && n != nil {
		d.files[to] = n
		n.names++
	}
	return err
}

func (d *smallDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.FS.Remove(name)
	if err == nil {
		d.unlink(name)
	}
	return err
}

func (d *smallDisk) RemoveAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for file := range d.files {
		if file == name || strings.HasPrefix(file, name+"/") {
			d.unlink(file)
		}
	}
	return d.FS.RemoveAll(name)
}

func (d *smallDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.FS.Rename(from, to)
	if n := d.files[from]; err == nil && n != nil {
		d.unlink(to)
		delete(d.files, from)
		d.files[to] = n
	}
	return err
}

type smallFile struct {
	vfs.File
	disk *smallDisk
	node *inode
}

func (f *smallFile) Write(p []byte) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	fits := int(min(int64(len(p)), max(0, d.size-d.used)))
	n, err := f.File.Write(append([]byte(nil), p[:fits]...))
	d.used += int64(n)
	f.node.bytes += int64(n)
	if err == nil && fits < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

// filler writes values that do not compress.
type filler struct {
	*Store
	t    *testing.T
	next uint64 // command
	rng  *rand.ChaCha8
}

func (f *filler) apply(commands ...[]byte) {
	f.t.Helper()
	b := &replication.Batch{Epoch: 1, First: replication.Position(f.next + 1), WantResults: true}
	for _, c := range commands {
		b.Commands = append(b.Commands, replication.Command{Data: c})
		f.next++
	}
	b.Metadata = &replication.Metadata{
		AppliedIndex: f.next, AppliedTerm: 1, Epoch: 1, Position: replication.Position(f.next),
	}
	if _, err := f.Apply(b); err != nil {
		f.t.Fatal(err)
	}
}

const fillBytes = 32 << 10

func (f *filler) put(key string) {
	value := make([]byte, fillBytes)
	f.rng.Read(value)
	f.apply(command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: value}))
}

func (f *filler) count() int64 {
	f.t.Helper()
	r, err := f.Range(f.t.Context(), &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		if len(kv.Value) != fillBytes {
			f.t.Errorf("%s has %d bytes", kv.Key, len(kv.Value))
		}
	}
	return r.Count
}

func fillerOn(t *testing.T, disk vfs.FS, spare int64) *filler {
	t.Helper()
	s, err := Open(Options{
		FS: disk, Dir: "kv", Logger: quiet(), MemTableBytes: 1 << 20, SpareBytes: spare,
		OnFailure: func(err error) { t.Errorf("the store gave up: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &filler{Store: s, t: t, rng: rand.NewChaCha8([32]byte{1})}
}

// fill puts, and syncs as a node does that releases log, until there is no room to.
func (f *filler) fill() (keys int64) {
	f.t.Helper()
	for ; keys < 10_000; keys++ {
		f.put(fmt.Sprintf("k%06d", keys))
		if keys%8 != 0 {
			continue
		}
		if err := f.Sync(); durable.Full(err) {
			return keys + 1
		} else if err != nil {
			f.t.Fatal(err)
		}
	}
	f.t.Fatal("it never found the disk full")
	return 0
}

// synced waits until all that was applied is durable, and nothing lacks room.
func (f *filler) synced() {
	f.t.Helper()
	for range 600 {
		if f.Sync() == nil && Lacking(f.Store) == nil {
			return
		}
		time.Sleep(time.Second)
	}
	f.t.Fatalf("there is room, and it says: %v, %v", f.Sync(), Lacking(f.Store))
}

// A store whose flushes and compactions find no room goes on: it says so, reads, deletes and compacts, loses nothing,
// and flushes as soon as there is room.
func TestAFullDiskEndsNoStore(t *testing.T) {
	const size, spare = 6 << 20, 512 << 10
	virtual.Test(t, func(t *testing.T) {
		disk := newSmallDisk(size)
		f := fillerOn(t, disk, spare)
		keys := f.fill()
		disk.resize(0)          // and what was begun may not end
		time.Sleep(time.Minute) // it tries again and again
		if err := Lacking(f.Store); !durable.Full(err) {
			t.Errorf("it lacks room, and says %v", err)
		}
		if got := f.count(); got != keys {
			t.Errorf("%d keys of %d", got, keys)
		}
		if err := f.Checkpoint("kv-copy"); !durable.Full(err) {
			t.Errorf("a checkpoint: %v", err)
		}
		if names, err := disk.List("kv-copy"); err == nil {
			t.Errorf("left of a checkpoint: %v", names)
		}
		f.apply(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("k000100")}),
			command.EncodeCompaction(&pb.CompactionRequest{Revision: f.Revision()}))
		left := keys - 100
		if got := f.count(); got != left {
			t.Errorf("%d keys after a deletion, want %d", got, left)
		}
		disk.resize(8 * size)
		f.synced()
		f.put("k999999")
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		again := fillerOn(t, disk, spare)
		if got := again.count(); got != left+1 {
			t.Errorf("%d keys after a restart, want %d", got, left+1)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A store opens on a disk that has no room for the compactions that it owes, and leaves what is free to others.
func TestAFullDiskIsEnoughToOpen(t *testing.T) {
	const size, spare, some = 6 << 20, 512 << 10, 256 << 10
	virtual.Test(t, func(t *testing.T) {
		disk := newSmallDisk(size)
		f := fillerOn(t, disk, size/2) // so that it owes compactions
		keys := f.fill()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		disk.resize(disk.taken() + some)
		again := fillerOn(t, disk, spare)
		time.Sleep(time.Minute)
		if got := again.count(); got < keys-8 { // what was synced
			t.Errorf("%d keys of %d", got, keys)
		}
		if free := disk.size - disk.taken(); free < some/4 {
			t.Errorf("%d bytes are left of %d", free, some)
		}
		disk.resize(4 * size)
		again.put("k999999")
		again.synced()
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What Pebble has to note waits for room, whatever it is: a MANIFEST that is written on, a new one, the marker of it.
func TestNotesWaitForRoom(t *testing.T) {
	for _, name := range []string{"kv/gen/MANIFEST-000001", "kv/gen/marker.manifest.000002.MANIFEST-000001"} {
		virtual.Test(t, func(t *testing.T) {
			disk := newSmallDisk(0)
			o := Options{FS: disk, Dir: "kv", Logger: quiet()}
			if err := o.setDefaults(); err != nil {
				t.Fatal(err)
			}
			if err := disk.MkdirAll("kv/gen", 0o755); err != nil {
				t.Fatal(err)
			}
			a := newFailures(&o, "kv/gen")
			fs := watched{disk, a}
			write := func() error {
				f, err := fs.Create(name, "pebble-manifest")
				if err != nil {
					return err
				}
				_, err = f.Write([]byte("a note"))
				return errors.Join(err, f.Close())
			}
			if err := write(); err != nil || !durable.Full(a.fatal) { // the opening ends with it
				t.Fatalf("%s: while it is opened: %v, %v", path.Base(name), err, a.fatal)
			}
			a = newFailures(&o, "kv/gen")
			fs = watched{disk, a}
			a.opened = true
			a.room.opened()
			wrote := make(chan error, 1)
			go func() { wrote <- write() }()
			time.Sleep(time.Hour)
			virtual.Wait()
			if len(wrote) != 0 || !durable.Full(a.room.lacking()) {
				t.Fatalf("%s: written, or nobody knows: %v", path.Base(name), a.room.lacking())
			}
			disk.resize(3)
			time.Sleep(time.Hour)
			disk.resize(1 << 20)
			if err := <-wrote; err != nil || a.room.lacking() != nil {
				t.Errorf("%s: %v, and it says: %v", path.Base(name), err, a.room.lacking())
			}
			if text := readFile(t, disk, name); string(text) != "a note" {
				t.Errorf("%s holds %q", path.Base(name), text)
			}
		})
	}
}

// What was deleted and compacted gives back its room although nothing more is written, as far as there is some.
func TestWhatWasDeletedGivesItsRoomBack(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := newSmallDisk(64 << 20)
		f := fillerOn(t, disk, 256<<10)
		for i := range 100 {
			f.put(fmt.Sprintf("k%06d", i))
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		full := disk.taken()
		f.apply(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}))
		f.apply(command.EncodeCompaction(&pb.CompactionRequest{Revision: f.Revision()}))
		for f.compactor.busy() {
			time.Sleep(time.Second)
		}
		disk.resize(full + 512<<10)
		for range 2 { // the second does nothing
			if err := Reclaim(t.Context(), f.Store); err != nil {
				t.Fatal(err)
			}
		}
		for disk.taken() > full/4 && time.Now().Year() < 2001 {
			time.Sleep(time.Hour)
		}
		if taken := disk.taken(); taken > full/4 {
			t.Errorf("%d bytes are taken, of %d", taken, full)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// An attempt that failed for whatever reason has found no room; only one that was made has.
func TestAnotherFailureFindsNoRoom(t *testing.T) {
	o := Options{FS: newSmallDisk(0), Dir: "kv", Logger: quiet()}
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []purpose{compacting, flushing} {
		r := newRoom(&o, "kv/gen")
		_ = r.note(p, syscall.ENOSPC)
		for _, err := range []error{syscall.ENOSPC, pebble.ErrCancelledCompaction, syscall.EIO} {
			if r.ended(p, err); !durable.Full(r.lacking()) {
				t.Errorf("a %s ended with %v, and it lacks %v", p, err, r.lacking())
			}
		}
		if r.ended(p, nil); r.lacking() != nil {
			t.Errorf("a %s found room, and it lacks %v", p, r.lacking())
		}
	}
}
