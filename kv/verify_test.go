package kv

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
)

// copyAlone returns a filesystem with nothing but the checkpoint "copy" of a store with old versions.
func copyAlone(t *testing.T) *vfs.MemFS {
	t.Helper()
	n := newNode(t)
	for i := range 4 {
		n.apply(put("k", strings.Repeat(string(rune('a'+i)), 500)), put("once", "v"))
	}
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	if _, err := vfs.Clone(n.fs, fs, "copy", "copy"); err != nil {
		t.Fatal(err)
	}
	return fs
}

// tablesIn returns the paths of the tables in a directory.
func tablesIn(t *testing.T, fs vfs.FS, dir string) (paths []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if snapshot.IsTable(name) {
			paths = append(paths, fs.PathJoin(dir, name))
		}
	}
	if len(paths) == 0 {
		t.Fatalf("no tables among %v", names)
	}
	return paths
}

// footerBytes is more than the end of a table that says where the rest of it is.
const footerBytes = 64

// Whichever block of a table a flipped bit is in, of old versions as well, it is found; and nothing else is.
func TestATableWithAFlippedBitDoesNotPass(t *testing.T) {
	fs := copyAlone(t)
	for _, path := range tablesIn(t, fs, "copy") {
		if err := snapshot.VerifyTable(fs, path); err != nil {
			t.Fatalf("undamaged: %v", err)
		}
		whole := readFile(t, fs, path)
		for at := 0; at < len(whole)-footerBytes; at += 5 {
			flipped := append([]byte(nil), whole...)
			flipped[at] ^= 0x10
			write(t, fs, path, flipped)
			if err := snapshot.VerifyTable(fs, path); !errors.Is(err, mvcc.ErrCorrupt) {
				t.Errorf("%s, bit of byte %d of %d: %v", path, at, len(whole), err)
			}
		}
		write(t, fs, path, whole[:len(whole)/2])
		if err := snapshot.VerifyTable(fs, path); !errors.Is(err, mvcc.ErrCorrupt) {
			t.Errorf("%s cut: %v", path, err)
		}
		write(t, fs, path, whole)
	}
}

// A store looks at a checkpoint of another node beside its own state: it says of each file that it is damaged if it is,
// and of the whole if it does not open; nothing of that is damage of the store, and nothing stays.
func TestACheckpointOfAnotherNodeIsVerified(t *testing.T) {
	fs := copyAlone(t)
	var told []error
	n := openNodeWith(t, Options{FS: fs, Logger: quiet(), OnFailure: func(err error) { told = append(told, err) }})
	n.apply(put("own", "v"))
	names, err := fs.List("copy")
	if err != nil {
		t.Fatal(err)
	}
	look := func() (file, whole error) {
		for _, name := range names {
			file = errors.Join(file, n.VerifyFile("copy", name))
		}
		return file, n.Verify("copy")
	}
	if file, whole := look(); file != nil || whole != nil {
		t.Fatalf("undamaged: %v; %v", file, whole)
	}
	flipTables(t, fs, "copy")
	if file, _ := look(); !errors.Is(file, replication.ErrDamaged) {
		t.Errorf("damaged tables: %v", file)
	}
	flipTables(t, fs, "copy")
	for _, path := range tablesIn(t, fs, "copy") {
		table := readFile(t, fs, path)
		write(t, fs, path, table[:len(table)/2])
		file, whole := look()
		if !errors.Is(file, replication.ErrDamaged) || !errors.Is(whole, replication.ErrDamaged) {
			t.Errorf("%s cut: %v; %v", path, file, whole)
		}
		write(t, fs, path, table)
	}
	if file, whole := look(); file != nil || whole != nil {
		t.Errorf("mended: %v; %v", file, whole)
	}
	if err := n.Verify("nowhere"); err == nil || errors.Is(err, replication.ErrDamaged) {
		t.Errorf("what is not there: %v", err)
	}
	left, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if strings.HasPrefix(name, temporaryPrefix) {
			t.Errorf("left over: %v", left)
		}
	}
	if got := n.get("own", 0); !strings.HasPrefix(got, "v ") || len(told) > 0 {
		t.Errorf("the store holds %q, and was told %v", got, told)
	}
}

// A checkpoint whose list of tables cannot be read to its end is damaged, whoever takes it: no crash has cut it, and
// what is opened without its end is an older content, or none, under the metadata of the new one.
func TestACheckpointWithoutTheEndOfItsListIsRefused(t *testing.T) {
	fs := copyAlone(t)
	desc, err := pebble.Peek("copy", fs)
	if err != nil {
		t.Fatal(err)
	}
	n := openNodeWith(t, Options{FS: fs, Logger: quiet()})
	n.apply(put("own", "v"))
	whole := readFile(t, fs, desc.ManifestFilename)
	flipped := append([]byte(nil), whole...)
	flipped[len(whole)-1] ^= 0x10
	lists := map[string][]byte{"cut": whole[:len(whole)-1], "flipped": flipped, "gone": nil}
	cuts := 0
	for cut := range whole { // behind a whole record, where the list itself does not tell
		if write(t, fs, "cut", whole[:cut]); cut > 0 && checkWhole(fs, "cut") == nil {
			lists[fmt.Sprintf("cut at %d of %d", cut, len(whole))] = whole[:cut]
			cuts++
		}
	}
	if cuts == 0 {
		t.Fatal("the list has one record")
	}
	for what, list := range lists {
		if write(t, fs, desc.ManifestFilename, list); list == nil {
			if err := fs.Remove(desc.ManifestFilename); err != nil {
				t.Fatal(err)
			}
		}
		branch, branched := n.Branch("copy")
		for who, err := range map[string]error{
			"Install": n.Install("copy", &n.metadata), "Verify": n.Verify("copy"), "Branch": branched,
			"VerifyFile": n.VerifyFile("copy", filepath.Base(desc.ManifestFilename)),
		} {
			if who == "VerifyFile" && strings.HasPrefix(what, "cut at") {
				continue // the file alone does not tell
			}
			if !errors.Is(err, replication.ErrDamaged) {
				t.Errorf("%s, %s: %v", what, who, err)
			}
		}
		if branched == nil {
			if err := branch.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := n.get("own", 0); !strings.HasPrefix(got, "v ") {
			t.Errorf("%s: the store holds %q", what, got)
		}
	}
	write(t, fs, desc.ManifestFilename, whole)
	if err := n.Install("copy", nil); err != nil {
		t.Errorf("mended: %v", err)
	}
}

// So is one with a file of values that its list does not have: the list lost what came last. One of a version that
// writes such files is none.
func TestACheckpointWithValuesThatAreNotListedIsRefused(t *testing.T) {
	fs := copyAlone(t)
	n := openNodeWith(t, Options{FS: fs, Logger: quiet()})
	n.apply(put("own", "v"))
	refused := func(dir, stray string) {
		t.Helper()
		if err := n.Verify(dir); err != nil {
			t.Fatalf("%s as it is: %v", dir, err)
		}
		write(t, fs, fs.PathJoin(dir, stray), []byte("values"))
		branch, branched := n.Branch(dir)
		for who, err := range map[string]error{
			"Install": n.Install(dir, &n.metadata), "Verify": n.Verify(dir), "Branch": branched,
		} {
			if !errors.Is(err, replication.ErrDamaged) {
				t.Errorf("%s: %s: %v", dir, who, err)
			}
		}
		if branched == nil {
			if err := branch.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := n.get("own", 0); !strings.HasPrefix(got, "v ") {
			t.Errorf("%s: the store holds %q", dir, got)
		}
	}
	refused("copy", "000999.blob")

	fs = copyAlone(t)
	n = openNodeWith(t, Options{FS: fs, Logger: quiet()})
	n.apply(put("own", "v"))
	cache := pebble.NewCache(1 << 20)
	defer cache.Unref()
	o := n.options
	later := pebbleOptions(&o, cache, newFailures(&o, "kv"))
	later.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 10, MaxBlobReferenceDepth: 5}
	}
	db, err := pebble.Open("copy", later)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Set([]byte("Mzz\x00"), []byte(strings.Repeat("v", 500)), pebble.NoSync)
	if err = errors.Join(err, db.Flush(), db.Checkpoint("later"), db.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("later")
	if err != nil || len(blobsAmong(names)) == 0 {
		t.Fatalf("no values among %v, %v", names, err)
	}
	refused("later", "000999.blob")
}
