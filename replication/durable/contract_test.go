package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/replication/durable/pagecache"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// each runs f over every filesystem there is, in an empty directory of it.
func each(t *testing.T, f func(t *testing.T, disk durable.FS, dir string)) {
	t.Run("machine", func(t *testing.T) { f(t, durable.OS, t.TempDir()) })
	t.Run("pebble's of the machine", func(t *testing.T) { f(t, pebblefs.New(vfs.Default), t.TempDir()) })
	t.Run("pebble's in memory", func(t *testing.T) {
		disk := pebblefs.New(vfs.NewCrashableMem())
		if err := disk.MkdirAll("/dir"); err != nil {
			t.Fatal(err)
		}
		f(t, disk, "/dir")
	})
	t.Run("an encrypted one", func(t *testing.T) {
		line, _ := atrest.NewKey()
		keys, err := atrest.ParseKeys([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		f(t, pebblefs.New(atrest.New(vfs.Default, keys)), t.TempDir())
	})
	t.Run("a page cache above it", func(t *testing.T) {
		disk := pagecache.New(pebblefs.New(vfs.NewCrashableMem()))
		if err := disk.MkdirAll("/dir"); err != nil {
			t.Fatal(err)
		}
		f(t, disk, "/dir")
	})
}

func TestWhatIsMissingIsNotExist(t *testing.T) {
	each(t, func(t *testing.T, disk durable.FS, dir string) {
		missing := filepath.Join(dir, "no", "file")
		_, open := disk.Open(missing)
		_, create := disk.Create(missing)
		_, readWrite := disk.OpenReadWrite(missing)
		_, list := disk.List(missing)
		_, stat := disk.Stat(missing)
		for i, err := range []error{
			open, create, readWrite, list, stat, disk.Remove(missing), disk.Rename(missing, dir+"x"),
			disk.SyncDir(missing),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if err := disk.RemoveAll(missing); err != nil {
			t.Error(err)
		}
	})
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, disk durable.FS, dir string) {
		name, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
		f, err := disk.OpenReadWrite(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("world"), 6); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("hello "), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.SyncData(), f.Sync()); err != nil {
			t.Fatal(err)
		}
		if err := disk.Rename(name, other); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 16)
		if n, err := f.ReadAt(p, 6); string(p[:n]) != "world" || err != io.EOF {
			t.Fatalf("a file that was renamed: %q, %v", p[:n], err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if f, err = disk.OpenReadWrite(other); err != nil { // with what it holds
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if p, err := durable.ReadFile(disk, other); string(p) != "hello world" || err != nil {
			t.Fatalf("%q, %v", p, err)
		}
		if info, err := disk.Stat(other); err != nil || info.Size() != 11 || info.IsDir() {
			t.Fatalf("%v, %v", info, err)
		}
		if f, err = disk.Create(other); err != nil { // without
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := disk.Stat(other); err != nil || info.Size() != 0 {
			t.Fatalf("%v, %v", info, err)
		}
	})
}

func TestDirectories(t *testing.T) {
	each(t, func(t *testing.T, disk durable.FS, dir string) {
		if err := durable.MakeDir(disk, filepath.Join(dir, "a", "b")); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(disk, filepath.Join(dir, "a", "file"), write("text")); err != nil {
			t.Fatal(err)
		}
		names, err := disk.List(filepath.Join(dir, "a"))
		slices.Sort(names)
		if err != nil || !slices.Equal(names, []string{"b", "file"}) {
			t.Fatalf("%q, %v", names, err)
		}
		if info, err := disk.Stat(filepath.Join(dir, "a", "b")); err != nil || !info.IsDir() {
			t.Fatalf("%v, %v", info, err)
		}
		if free, err := disk.FreeBytes(dir); err == nil && free == 0 { // one that cannot tell returns an error
			t.Fatal("a disk with room for what was written has none")
		}
		if err := disk.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if names, err := disk.List(dir); err != nil || len(names) != 0 {
			t.Fatalf("%q, %v", names, err)
		}
	})
}

func TestAClosedFileIsNotSynced(t *testing.T) {
	f, err := durable.OS.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.SyncData(); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
}
