package storagetest

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable"
)

// file is one of a checkpoint, by its name in the directory of that.
type file struct {
	name    string
	content []byte
}

// filesOf returns the files of a directory, and of those in it, in the order of their names.
func filesOf(t testing.TB, fs durable.FS, dir string) (files []file) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatalf("look at %s: %v", path, err)
		}
		if info.IsDir() {
			for _, f := range filesOf(t, fs, path) {
				files = append(files, file{name + "/" + f.name, f.content})
			}
			continue
		}
		content, err := durable.ReadFile(fs, path)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		files = append(files, file{name, content})
	}
	return files
}

// putFiles makes a directory of files, durably.
func putFiles(t testing.TB, fs durable.FS, dir string, files []file) {
	t.Helper()
	if err := durable.MakeDir(fs, dir); err != nil {
		t.Fatalf("make %s: %v", dir, err)
	}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		err := durable.MakeDir(fs, filepath.Dir(path))
		if err == nil {
			err = durable.WriteFile(fs, path, func(w io.Writer) error {
				_, err := w.Write(bytes.Clone(f.content)) // a filesystem for tests may spoil what it is given
				return err
			})
		}
		if err != nil {
			t.Fatalf("write %s: %v", path, err)
		}
	}
}

// changed says in what a directory is not what it was, "" if it is.
func changed(before, after []file) string {
	for _, f := range before {
		i := slices.IndexFunc(after, func(g file) bool { return g.name == f.name })
		switch {
		case i < 0:
			return f.name + " is gone"
		case !bytes.Equal(after[i].content, f.content):
			return f.name + " is another one"
		}
	}
	if len(after) != len(before) {
		return fmt.Sprintf("it has %d files, and had %d", len(after), len(before))
	}
	return ""
}

// damage is a copy of a checkpoint with which something is wrong.
type damage struct {
	what, dir string
	files     []file
}

// damages makes copies of the checkpoint in dir as a disk may leave it: of each file in turn a byte is another one, the
// end is lost, or all of it is; and one with nothing in it.
func damages(t testing.TB, dirs Directories, dir string) (list []damage) {
	t.Helper()
	whole := filesOf(t, dirs.FS(), dir)
	if len(whole) == 0 {
		t.Fatalf("the checkpoint in %s has no files", dir)
	}
	add := func(files []file, what string, args ...any) {
		d := damage{fmt.Sprintf(what, args...), dirs.NewDir(), files}
		putFiles(t, dirs.FS(), d.dir, files)
		list = append(list, d)
	}
	with := func(i int, content []byte) []file {
		files := slices.Clone(whole)
		files[i].content = content
		return files
	}
	for i, f := range whole {
		if n := len(f.content); n > 0 {
			flipped := bytes.Clone(f.content)
			flipped[n/2] ^= 0x10
			add(with(i, flipped), "a bit of byte %d of %s is another one", n/2, f.name)
			add(with(i, f.content[:n/2]), "%s ends after %d of %d bytes", f.name, n/2, n)
		}
		add(slices.Delete(slices.Clone(whole), i, i+1), "%s is gone", f.name)
	}
	add(nil, "everything is gone")
	return list
}
