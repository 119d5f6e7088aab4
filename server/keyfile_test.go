package server

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// keyDisk is a filesystem with a file of keys. What is nil does nothing.
type keyDisk struct {
	durable.FS
	opened  int
	sync    func() error // of the file
	syncDir func(dir string) error
}

func (d *keyDisk) Open(name string) (durable.File, error) {
	d.opened++
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return keyDiskFile{f, d}, nil
}

func (d *keyDisk) SyncDir(dir string) error {
	if d.syncDir != nil {
		return d.syncDir(dir)
	}
	return d.FS.SyncDir(dir)
}

type keyDiskFile struct {
	durable.File
	of *keyDisk
}

func (f keyDiskFile) Sync() error {
	if f.of.sync != nil {
		return f.of.sync()
	}
	return f.File.Sync()
}

// Whoever wrote the keys synced nothing. Once a directory is under them, a power cut takes it no more: a start, the
// rewriting of a directory and a witness all open theirs so, and at SIGHUP keys are settled before they are used.
func TestKeysAreSettledBeforeAnythingIsUnderThem(t *testing.T) {
	line, id := atrest.NewKey()
	const name = "/only-in-this-test/keys"
	mem := vfs.NewCrashableMem()
	on := pebblefs.New(mem)
	if err := durable.MakeDir(on, filepath.Dir(name)); err != nil {
		t.Fatal(err)
	}
	put := func(lines ...string) {
		f, err := on.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(strings.Join(lines, "\n"))); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	afterPowerCut := func() atrest.Keys {
		keys, err := keysIn(pebblefs.New(mem.CrashClone(vfs.CrashCloneCfg{})), name,
			func(durable.File) error { return nil })
		if err != nil {
			t.Fatal("after a power cut the directory cannot be read:", err)
		}
		return keys
	}
	d := &disk{dir: filepath.Join(t.TempDir(), "data"), keysOn: on}
	put(line)
	held, err := d.open(name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if !afterPowerCut().Has(id) {
		t.Error("after a power cut the key is gone")
	}
	next, added := atrest.NewKey()
	put(next, line)
	d.rekey(name, slog.New(slog.DiscardHandler))
	if d.active() != added.String() || !afterPowerCut().Has(added) {
		t.Errorf("at SIGHUP: %s is active, and after a power cut the key is there: %t", d.active(),
			afterPowerCut().Has(added))
	}
}

// Keys that may not survive refuse the directory before anything is made there, and say why; where there is nothing to
// sync, or another one made the directory of the keys, they are taken.
func TestKeysThatCannotBeSettledAreRefused(t *testing.T) {
	line, id := atrest.NewKey()
	name := keyFile(t, line)
	for _, c := range []struct {
		err     error
		refused bool
	}{
		{syscall.EIO, true}, {syscall.ENOSPC, true}, {syscall.EINVAL, false}, {syscall.EROFS, false},
		{fs.ErrPermission, false}, {errors.ErrUnsupported, false},
	} {
		fails := func() error { return &fs.PathError{Op: "sync", Path: name, Err: c.err} }
		for what, on := range map[string]*keyDisk{
			"file":      {FS: durable.OS, sync: fails},
			"directory": {FS: durable.OS, syncDir: func(string) error { return fails() }},
		} {
			d := &disk{dir: filepath.Join(t.TempDir(), "data"), keysOn: on}
			held, err := d.open(name, slog.New(slog.DiscardHandler))
			if err == nil {
				held.Close()
			}
			_, made := os.Stat(d.dir)
			switch {
			case !c.refused && err != nil:
				t.Errorf("%s, %v: refused: %v", what, c.err, err)
			case c.refused && (!errors.Is(err, ErrConfig) || !errors.Is(err, c.err) ||
				!strings.Contains(err.Error(), name)):
				t.Errorf("%s, %v: %v", what, c.err, err)
			case c.refused && made == nil:
				t.Errorf("%s, %v: the directory was made before", what, c.err)
			}
		}
	}
	d := &disk{dir: filepath.Join(t.TempDir(), "data")}
	held, err := d.open(name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	d.keysOn = &keyDisk{FS: durable.OS, sync: func() error { return syscall.EIO }}
	next, _ := atrest.NewKey()
	var log bytes.Buffer
	if err := os.WriteFile(name, []byte(next+"\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	d.rekey(name, slog.New(slog.NewTextHandler(&log, nil)))
	if d.active() != id.String() || !strings.Contains(log.String(), "the keys stay as they were") {
		t.Errorf("at SIGHUP: %s is active; %s", d.active(), &log)
	}
}

// Where the disk of the keys hangs, what else is read at SIGHUP does not wait for it, and it is told. When it goes on,
// the keys are taken that were there.
func TestKeysOnADiskThatHangsKeepNobody(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		line, id := atrest.NewKey()
		name, d := keyFile(t, line), &disk{dir: filepath.Join(t.TempDir(), "data")}
		held, err := d.open(name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		next, added := atrest.NewKey()
		if err := os.WriteFile(name, []byte(next+"\n"+line), 0o600); err != nil {
			t.Fatal(err)
		}
		goOn := make(chan struct{})
		on := &keyDisk{FS: durable.OS, sync: func() error {
			<-goOn
			return nil
		}}
		d.keysOn = on
		log := &logged{}
		logger := slog.New(slog.NewTextHandler(log, nil))
		turn := newKeysTurn(name, logger)
		for range 3 {
			d.rekeyInTime(turn, name, logger)
		}
		virtual.Wait()
		if d.active() != id.String() || on.opened != 1 || !strings.Contains(log.String(), "its disk may hang") {
			t.Errorf("%s is active, the file was opened %d times; %s", d.active(), on.opened, log.String())
		}
		close(goOn)
		virtual.Wait()
		if d.active() != added.String() {
			t.Errorf("%s is active when the disk goes on; %s", d.active(), log.String())
		}
	})
}

// Keys that are changed while they are settled, by a link that is turned to another directory, are those of after: read
// anew and settled as a whole. What is not there is refused.
func TestALinkThatIsTurnedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	before, _ := atrest.NewKey()
	after, id := atrest.NewKey()
	for name, line := range map[string]string{"1": before, "2": after} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700),
			os.WriteFile(filepath.Join(dir, name, "keys"), []byte(line), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	turn := func(to string) error {
		return errors.Join(os.Symlink(to, filepath.Join(dir, "next")),
			os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")))
	}
	if err := turn("1"); err != nil {
		t.Skip(err)
	}
	name := filepath.Join(dir, "data", "keys")
	files, turned := 0, false
	on := &keyDisk{FS: durable.OS, sync: func() error { files++; return nil }}
	on.syncDir = func(of string) error {
		if filepath.Base(of) == "1" && !turned { // between the resolution of the link and the sync
			turned = true
			if err := errors.Join(turn("2"), os.RemoveAll(filepath.Join(dir, "1"))); err != nil {
				t.Fatal(err)
			}
		}
		return durable.OS.SyncDir(of)
	}
	keys, err := settledKeys(on, name)
	if err != nil {
		t.Fatal(err)
	}
	if active, _ := keys.Active(); active != id || files != 2 || !turned {
		t.Errorf("key %s is active, %d files were synced, turned: %t", active, files, turned)
	}
	if err := os.RemoveAll(filepath.Join(dir, "2")); err != nil {
		t.Fatal(err)
	}
	if _, err := settledKeys(durable.OS, name); !errors.Is(err, ErrConfig) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("keys that are not there: %v", err)
	}
}

// What is read is what is synced, whichever file has the name a moment later; and a link leads to a name that is synced
// too.
func TestTheKeysThatAreReadAreTheOnesThatAreSettled(t *testing.T) {
	line, id := atrest.NewKey()
	other, _ := atrest.NewKey()
	name, elsewhere := keyFile(t, line), keyFile(t, other)
	var dirs []string
	on := &keyDisk{FS: durable.OS, syncDir: func(dir string) error { dirs = append(dirs, dir); return nil }}
	on.sync = func() error { return os.Rename(elsewhere, name) }
	keys, err := settledKeys(on, name)
	if err != nil {
		t.Fatal(err)
	}
	if active, _ := keys.Active(); active != id || on.opened != 1 {
		t.Errorf("key %s of %s, opened %d times", active, id, on.opened)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Skip(err)
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		t.Fatal(err)
	}
	dirs, on.sync = nil, nil
	if _, err := settledKeys(on, link); err != nil {
		t.Fatal(err)
	}
	if len(dirs) != 2 || dirs[0] != filepath.Dir(link) || dirs[1] != filepath.Dir(target) {
		t.Errorf("synced %q for %s, which leads to %s", dirs, link, target)
	}
}
