package durable

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestWhatIsMadeSurvivesAPowerCut(t *testing.T) {
	disk := vfs.NewCrashableMem()
	if err := MakeDir(disk, "/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(disk, "/a/b/c/file", write("one")); err != nil {
		t.Fatal(err)
	}
	disk = disk.CrashClone(vfs.CrashCloneCfg{})
	if p, err := ReadFile(disk, "/a/b/c/file"); err != nil || string(p) != "one" {
		t.Fatalf("%q, %v", p, err)
	}
	if err := MakeDir(disk, "/a/b/c"); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedWriteLeavesTheFormerFile(t *testing.T) {
	disk := vfs.NewCrashableMem()
	if err := WriteFile(disk, "/file", write("one")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := WriteFile(disk, "/file", func(w io.Writer) error {
		return errors.Join(write("two")(w), full)
	})
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	for _, fs := range []*vfs.MemFS{disk, disk.CrashClone(vfs.CrashCloneCfg{})} {
		if p, err := ReadFile(fs, "/file"); err != nil || string(p) != "one" {
			t.Fatalf("%q, %v", p, err)
		}
	}
}
