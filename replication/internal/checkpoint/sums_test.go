package checkpoint_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// opened notes which files are opened to be read.
type opened struct {
	durable.FS
	names []string
}

func (r *opened) Open(name string) (durable.File, error) {
	r.names = append(r.names, filepath.Base(name))
	return r.FS.Open(name)
}

// Of a state of which copies are made one after the other, as hard links, each file is read once, and whatever is not
// that very file any more is read again. What is told of the way is the same.
func TestAFileThatNeverChangesIsSummedOnce(t *testing.T) {
	top := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{top}, names...)...) }
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	store := func(name, content string, when time.Time) {
		t.Helper()
		next := at("store", "next") // beside the one before: no other file is the same one as long as that is there
		must(os.WriteFile(next, []byte(content), 0o600), os.Chtimes(next, when, when))
		must(os.Rename(next, at("store", name)))
	}
	must(os.Mkdir(at("store"), 0o700))
	fs, sums := &opened{FS: durable.OS}, &checkpoint.Sums{}
	describe := func(copied string, links []string, own string) (read []string) {
		t.Helper()
		must(os.Mkdir(at(copied), 0o700), os.WriteFile(at(copied, "METADATA"), []byte(own), 0o600))
		for _, name := range links {
			must(os.Link(at("store", name), at(copied, name)))
		}
		fs.names = nil
		told := int64(0)
		m, err := sums.Describe(t.Context(), fs, at(copied), [16]byte{1}, nil, func(bytes int64) { told += bytes })
		must(err)
		read = slices.Clone(fs.names)
		want, err := checkpoint.Describe(t.Context(), durable.OS, at(copied), [16]byte{1}, nil, nil)
		must(err)
		if !slices.Equal(m.Files, want.Files) || told != want.Bytes() {
			t.Errorf("%s is described as %+v, want %+v; told of %d bytes", copied, m.Files, want.Files, told)
		}
		must(os.RemoveAll(at(copied)))
		return read
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q were read, want %q", what, got, want)
		}
	}
	store("a.sst", "one", old)
	store("b.sst", "two", old)
	store("c.sst", "young", time.Now())
	all := []string{"a.sst", "b.sst", "c.sst"}
	expect("first", describe("1", all, "m1"), "METADATA", "a.sst", "b.sst", "c.sst")
	expect("again", describe("2", all, "m2"), "METADATA", "c.sst")

	store("a.sst", "eno", old) // as long, and as old
	expect("another file of its name", describe("3", all, "m3"), "METADATA", "a.sst", "c.sst")
	must(os.WriteFile(at("store", "b.sst"), []byte("owt"), 0o600))
	expect("written again", describe("4", all, "m4"), "METADATA", "b.sst", "c.sst")
	must(os.WriteFile(at("store", "a.sst"), []byte("longer"), 0o600), os.Chtimes(at("store", "a.sst"), old, old))
	expect("longer", describe("5", all, "m5"), "METADATA", "a.sst", "b.sst", "c.sst")

	expect("without one", describe("6", []string{"b.sst"}, "m6"), "METADATA", "b.sst")
	expect("which is not known any more", describe("7", all, "m7"), "METADATA", "a.sst", "b.sst", "c.sst")
}
