package snapshot

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// write makes files with the given contents in a directory.
func write(t testing.TB, fs vfs.FS, dir string, files map[string]string) {
	t.Helper()
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		f, err := fs.Create(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// same checks that a directory holds the files, and nothing else.
func same(t testing.TB, what string, fs vfs.FS, dir string, files map[string]string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil || len(names) != len(files) {
		t.Fatalf("%s: %d files of %d: %v, %v", what, len(names), len(files), names, err)
	}
	for name, want := range files {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s holds %d bytes, want %d; %v", what, name, len(got), len(want), err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

var checkpoint = map[string]string{"000001.sst": strings.Repeat("table", 30), "MANIFEST-1": "manifest", "empty": ""}

var errBroken = errors.New("connection broke")

func TestArchive(t *testing.T) {
	fs := vfs.NewMem()
	checkpoint := map[string]string{"table": checkpoint["000001.sst"], "MANIFEST-1": "manifest", "empty": ""}
	write(t, fs, "from", checkpoint)
	c := NewCopy(fs, "from", nil, func(dir string) {
		if err := fs.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	var archive bytes.Buffer
	if n, err := c.WriteTo(&archive); err != nil || n != int64(archive.Len()) {
		t.Fatalf("%d bytes written of %d: %v", archive.Len(), n, err)
	}
	if archive.Len()%512 != 32 {
		t.Errorf("%d bytes are not what etcd's tools take for whole", archive.Len())
	}
	if err := Read(bytes.NewReader(archive.Bytes()), fs, "to"); err != nil {
		t.Fatal(err)
	}
	same(t, "read", fs, "to", checkpoint)
	for at := range archive.Len() {
		damaged := bytes.Clone(archive.Bytes())
		damaged[at] ^= 1
		if err := Read(bytes.NewReader(damaged), fs, "damaged"); err == nil {
			t.Errorf("byte %d damaged: taken", at)
		}
		if err := Read(bytes.NewReader(archive.Bytes()[:at]), fs, "cut"); !errors.Is(err, mvcc.ErrCorrupt) {
			t.Errorf("cut at %d: %v", at, err)
		}
		// Whoever gives it fails, and it is whole.
		broken := func() io.Reader {
			return io.MultiReader(bytes.NewReader(archive.Bytes()[:at]), iotest.ErrReader(errBroken))
		}
		_, verified := Verify(bufio.NewReader(broken()))
		for _, err := range []error{verified, Read(broken(), fs, "broken")} {
			if !errors.Is(err, errBroken) || errors.Is(err, mvcc.ErrCorrupt) {
				t.Errorf("a read that fails at %d: %v", at, err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat("from"); err == nil {
		t.Error("a closed copy is still there")
	}
}

// TestLinkAndSync links a directory, and crashes before and after the copy is durable.
func TestLinkAndSync(t *testing.T) {
	fs := vfs.NewCrashableMem()
	write(t, fs, "from", checkpoint)
	if err := durable.MakeDir(pebblefs.New(fs), "a/b"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Sync(fs, "from"), pebblefs.New(fs).SyncDir("")); err != nil {
		t.Fatal(err)
	}
	fresh, err := Link(fs, "from", "a/b/to")
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(fresh, func(path string) bool { return strings.HasSuffix(path, ".sst") }) {
		t.Errorf("tables to be made durable again: %v", fresh)
	}
	same(t, "linked", fs, "a/b/to", checkpoint)
	if _, err := fs.CrashClone(vfs.CrashCloneCfg{}).Stat("a/b/to"); err == nil {
		t.Error("durable before it was synced: the test shows nothing")
	}
	if err := SyncAll(fs, append(fresh, "a/b")); err != nil {
		t.Fatal(err)
	}
	same(t, "after a crash", fs.CrashClone(vfs.CrashCloneCfg{}), "a/b/to", checkpoint)
	if err := fs.RemoveAll("a/b/to"); err != nil {
		t.Fatal(err)
	}
	same(t, "the source when the copy is gone", fs, "from", checkpoint)
}

func FuzzRead(f *testing.F) {
	f.Add(archiveMagic)
	f.Add(archiveMagic + "\x01\x00\x03\x00\x00\x00\x00\x00\x00\x00axyz\x00\x00")
	f.Fuzz(func(t *testing.T, p string) {
		fs := vfs.NewMem()
		if err := Read(strings.NewReader(p), fs, "dir"); err == nil && !strings.HasPrefix(p, archiveMagic) {
			t.Fatal("accepted")
		}
	})
}
