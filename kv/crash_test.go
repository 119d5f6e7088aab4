package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// script is a fixed random sequence of batches, as a log holds it.
func script(seed uint64, batches int) (log []replication.Batch) {
	random := rand.New(rand.NewPCG(seed, 7))
	revision, position := int64(1), replication.Position(0)
	for i := range batches {
		b := replication.Batch{First: position + 1, Epoch: 1}
		for range random.IntN(8) {
			key := []byte(fmt.Sprint("k", random.IntN(30)))
			var c []byte
			switch k := random.IntN(14); {
			case k < 8:
				value, lease := make([]byte, random.IntN(4000)), int64(random.IntN(3))
				c = command.EncodePut(&pb.PutRequest{Key: key, Value: value, Lease: lease})
				revision++
			case k < 10:
				c = command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: key, RangeEnd: []byte("k2")})
			case k == 10:
				c = command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: int64(1 + random.IntN(2)), TTL: 10})
			case k == 11:
				c = compact(revision / 2)
			default:
				c = someChange(random)
			}
			b.Commands = append(b.Commands, replication.Command{Data: c})
		}
		position += replication.Position(len(b.Commands))
		b.Metadata = &replication.Metadata{AppliedIndex: uint64(i + 1), Position: position, Epoch: 1}
		log = append(log, b)
	}
	return log
}

// fingerprint is everything that must be equal on nodes of equal history.
func (n *node) fingerprint() string {
	return fmt.Sprint(hashString(n, 0), n.Leases(), n.Revision(), n.CompactRevision())
}

// replay applies what the store does not have yet, as a restarted node does, and checks the metadata.
func (n *node) replay(log []replication.Batch) {
	n.t.Helper()
	m, err := n.Load()
	if err != nil {
		n.t.Fatal(err)
	}
	index := uint64(0)
	if m != nil {
		index = m.AppliedIndex
	}
	for i := index; i < uint64(len(log)); i++ {
		if _, err := n.Apply(&log[i]); err != nil {
			n.t.Fatal(err)
		}
	}
}

// TestCrashKeepsAPrefix crashes a store at every few batches, keeping some of what was not synced, and replays the
// log on what is left: contents and revisions are those of a store that never crashed, and the metadata never runs
// ahead of the contents (invariant 5).
func TestCrashKeepsAPrefix(t *testing.T) {
	log := script(1, 240)
	want := make([]string, len(log)+1) // by applied index
	reference := newNode(t)
	want[0] = reference.fingerprint()
	for i := range log {
		if _, err := reference.Apply(&log[i]); err != nil {
			t.Fatal(err)
		}
		want[i+1] = reference.fingerprint()
	}
	t.Run("plain", func(t *testing.T) { crashes(t, log, want, func(fs vfs.FS) vfs.FS { return fs }) })
	t.Run("encrypted", func(t *testing.T) { crashes(t, log, want, encrypted(t)) })
}

// encrypted returns what puts encryption over a filesystem, with one key.
func encrypted(t *testing.T) func(vfs.FS) vfs.FS {
	line, _ := atrest.NewKey()
	keys, err := atrest.ParseKeys([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return func(fs vfs.FS) vfs.FS { return atrest.New(fs, keys) }
}

// crashes has a store over a filesystem crash while it applies a log, after which its contents are as wanted.
func crashes(t *testing.T, log []replication.Batch, want []string, over func(vfs.FS) vfs.FS) {
	random := rand.New(rand.NewPCG(5, 6))
	fs := vfs.NewCrashableMem()
	// With tables so small, Pebble flushes by itself, between any two of its batches.
	n := openNodeWith(t, Options{FS: over(fs), MemTableBytes: 32 << 10})
	recovered := map[uint64]bool{}
	for i := range log {
		if _, err := n.Apply(&log[i]); err != nil {
			t.Fatal(err)
		}
		if i%20 == 3 {
			if err := n.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if i%8 != 0 {
			continue
		}
		kept := vfs.CrashCloneCfg{UnsyncedDataPercent: 10 * random.IntN(11), RNG: rand.New(rand.NewPCG(uint64(i), 1))}
		clone := fs.CrashClone(kept)
		back := openNode(t, over(clone))
		index := back.metadata.AppliedIndex
		recovered[index] = true
		if index > uint64(i+1) || (i > 3 && index == 0) {
			t.Fatalf("crash after %d: applied index %d", i+1, index)
		}
		expect(t, fmt.Sprint("contents at applied index ", index), back.fingerprint(), want[index])
		back.replay(log[:i+1])
		expect(t, fmt.Sprint("contents after replay to ", i+1), back.fingerprint(), want[i+1])
		back.Close()
	}
	if len(recovered) < 5 {
		t.Errorf("crashes went back to %d places only", len(recovered))
	}
}

func TestInstall(t *testing.T) {
	fs := vfs.NewMem()
	source, err := Open(Options{FS: fs, Dir: "source"})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	from := &node{Store: source, t: t}
	from.apply(put("a", "1"), put("a", "2"), put("b", "3"), grant(7, 60))
	if err := source.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, fs)
	n.apply(put("a", "1"))
	w := n.watch(watch.Request{Key: []byte("a"), RangeEnd: []byte{0}, StartRevision: 2})
	expect(t, "before", len(collect(t, w, 2)), 1)

	if err := n.Install("nothing", nil); err == nil {
		t.Error("a directory that is not there was installed")
	}
	if err := fs.MkdirAll("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := n.Install("empty", nil); !errors.Is(err, mvcc.ErrCorrupt) {
		t.Errorf("an empty directory: %v", err)
	}
	expect(t, "after a failed install", n.get("a", 0), "1 c2 m2 v1")
	if err := n.Install("copy", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "installed", n.fingerprint(), from.fingerprint())
	expect(t, "watcher goes on", len(collect(t, w, 4)), 2)
	m, err := n.Load()
	if err != nil || m == nil || m.Position != from.metadata.Position {
		t.Errorf("metadata %+v, %v", m, err)
	}
	n.apply(put("a", "3"), put("b", "4"))
	from.apply(put("a", "3"), put("b", "4"))
	expect(t, "goes on alike", n.fingerprint(), from.fingerprint())
	if n.Sync() != nil || n.Close() != nil {
		t.Fatal("sync or close")
	}
	expect(t, "after restart", openNode(t, fs).fingerprint(), from.fingerprint())
	names, _ := fs.List("store")
	generations := 0
	for _, name := range names {
		if strings.HasPrefix(name, generationPrefix) {
			generations++
		}
	}
	expect(t, "generations left", generations, 1)
}

// TestInstallIsDurable crashes right after, and in the middle of, an install.
func TestInstallIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	n := openNode(t, fs)
	n.apply(put("a", "old"))
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	n.apply(put("a", "new"))
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	staged, _, err := n.stage("copy", nil)
	if err != nil {
		t.Fatal(err)
	}
	crashed := openNode(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	if err := n.leftovers.discard(staged); err != nil {
		t.Fatal(err)
	}
	expect(t, "crash before the pointer moved", crashed.get("a", 0), "new c2 m3 v2")
	if err := n.Checkpoint("copy2"); err != nil {
		t.Fatal(err)
	}
	n.apply(put("a", "newer"))
	other := &replication.Metadata{AppliedIndex: 1000, Position: 7, Record: []byte("of another region")}
	if err := n.Install("copy2", other); err != nil {
		t.Fatal(err)
	}
	crashed = openNode(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	expect(t, "crash after", crashed.get("a", 0), "new c2 m3 v2")
	m, err := crashed.Load()
	if err != nil || m == nil || m.AppliedIndex != 1000 || string(m.Record) != "of another region" {
		t.Errorf("metadata given with the install: %+v, %v", m, err)
	}
}

func TestInstallEndsWatchersThatCannotGoOn(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"), put("a", "2"))
	if err := n.Checkpoint("early"); err != nil {
		t.Fatal(err)
	}
	n.apply(put("a", "3"))
	ahead := n.watch(watch.Request{Key: []byte("a")})
	if err := n.Install("early", nil); err != nil {
		t.Fatal(err)
	}
	var compacted *watch.CompactedError
	if _, err := next(t, ahead); !errors.As(err, &compacted) || compacted.Revision != 1 {
		t.Errorf("watcher ahead of the new content: %v", err)
	}
	atFork := n.watch(watch.Request{Key: []byte("a")})
	behind := n.watch(watch.Request{Key: []byte("a"), StartRevision: 2})

	// Another region goes on from revision 3 after a failover, while this one makes a tail.
	other := newNode(t)
	other.apply(put("a", "1"), put("a", "2"))
	other.begin(true)
	other.apply(put("a", "other"))
	if err := other.Checkpoint("later"); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.Clone(other.fs, n.fs, "later", "later"); err != nil {
		t.Fatal(err)
	}
	early := n.Revision()
	n.apply(put("a", "tail"))
	tail := n.watch(watch.Request{Key: []byte("a")})
	if err := n.Install("later", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "fork", early, 3)
	for what, w := range map[string]*watch.Watcher{"one that has the tail": tail, "one whose tail is queued": atFork} {
		if _, err := next(t, w); !errors.Is(err, command.ErrCompacted) {
			t.Errorf("%s: %v", what, err)
		}
	}
	expect(t, "one that is behind", len(collect(t, behind, n.Revision())), 3)
}

func TestSnapshotRestore(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"), put("b", strings.Repeat("x", 10_000)))
	var archive strings.Builder
	if err := n.SnapshotTo(&archive, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "length as etcd's tools want it", archive.Len()%512, 32)
	other := newNode(t)
	other.apply(put("c", "kept"))
	whole := archive.String()
	for _, i := range []int{0, 20, len(whole) / 2, len(whole) - 1} {
		damaged := whole[:i] + string([]byte{whole[i] ^ 1}) + whole[i+1:]
		if err := other.Restore(strings.NewReader(damaged), nil); err == nil {
			t.Errorf("byte %d damaged: restored", i)
		}
		if err := other.Restore(strings.NewReader(whole[:i]), nil); !errors.Is(err, mvcc.ErrCorrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	expect(t, "after failed restores", other.get("c", 0), "kept c2 m2 v1")
	if err := other.Restore(strings.NewReader(whole), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "restored", other.fingerprint(), n.fingerprint())
}
