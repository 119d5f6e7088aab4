package atrest

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func keyOf(t *testing.T, s *FS, name string) KeyID {
	t.Helper()
	h, encrypted, err := s.headerOf(name)
	if err != nil || !encrypted {
		t.Fatal(name, encrypted, err)
	}
	return h.key
}

func noRest(int64) error { return nil }

// opened opens a file to write it, and puts text into it.
func opened(t *testing.T, s *FS, name, text string) vfs.File {
	t.Helper()
	f, err := s.OpenReadWrite(name, category)
	if err == nil && text != "" {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Keys change while files are in use (A6): new ones are under the new one, those that nobody has open are written anew,
// those that somebody writes stay one file, whoever opens them again, and follow when he has closed them. Only then the
// former key may go.
func TestKeysChangeBesideWhoeverWrites(t *testing.T) {
	below := vfs.NewMem()
	one, two := newLine(), newLine()
	s := New(below, keysOf(t, one))
	first, second := s.Keys().active.id, keysOf(t, two).active.id
	write(t, s, "old.sst", "a table")
	making, err := s.Create("making", category)
	if err != nil {
		t.Fatal(err)
	}
	log := opened(t, s, "log", "begun")
	if err := opened(t, s, "rest", "written and closed").Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Change("", keysOf(t, two)); !errors.Is(err, ErrKey) {
		t.Fatal("a key that is needed went:", err)
	}
	write(t, s, "refused", "made behind it")
	mustHold(t, s, "rest", "written and closed")
	if id := keyOf(t, s, "refused"); id != first {
		t.Fatal("refused, and used:", id)
	}
	if err := s.Remove("refused"); err != nil {
		t.Fatal(err)
	}
	if err := s.Change("", keysOf(t, "plain", one)); !errors.Is(err, ErrPlain) {
		t.Fatal("files become plain beside who uses them:", err)
	}
	if err := s.Change("", keysOf(t, two, one)); err != nil {
		t.Fatal(err)
	}
	write(t, s, "new", "made behind it")
	again := opened(t, s, "log", "")
	if files, left, err := s.RenewBeside("", noRest); err != nil || files != 2 || left != 2 {
		t.Fatal(files, left, err)
	}
	for name, want := range map[string]KeyID{
		"old.sst": second, "rest": second, "new": second, "log": first, "making": first,
	} {
		if id := keyOf(t, s, name); id != want {
			t.Errorf("%s is under %s", name, id)
		}
	}
	_, err = again.WriteAt([]byte("ended"), 5)
	if err = errors.Join(err, again.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(making, "made")
	if err = errors.Join(err, making.Close()); err != nil {
		t.Fatal(err)
	}
	if files, left, err := s.RenewBeside("", noRest); err != nil || files != 2 || left != 0 {
		t.Fatal(files, left, err)
	}
	if err := s.Change("", keysOf(t, two)); err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, "log", "begunended")
	mustHold(t, s, "making", "made")
	mustHold(t, s, "old.sst", "a table")
	mustHold(t, s, "rest", "written and closed")
}

// Whatever the files, and by however many names, nothing is lost, doubled or brought back while keys change again and
// again beside those who make, link, read, write and remove them.
func TestKeysChangeInACrowd(t *testing.T) {
	dir := t.TempDir()
	lines := []string{newLine(), newLine(), newLine()}
	s := New(vfs.Default, keysOf(t, lines...))
	var crowd sync.WaitGroup
	for i := range 4 {
		crowd.Go(func() {
			for n := range 150 {
				if err := useFiles(s, filepath.Join(dir, fmt.Sprint(i)), n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { crowd.Wait(); close(done) }()
	for n := 0; ; n++ {
		keys := keysOf(t, lines[n%3], lines[(n+1)%3], lines[(n+2)%3])
		if err := s.Change(dir, keys); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.RenewBeside(dir, noRest); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	if names, err := vfs.Default.List(dir); err != nil || len(names) != 8 {
		t.Error(names, err)
	}
}

// useFiles is what one of the crowd does to its own files.
func useFiles(s *FS, name string, n int) error {
	text := strings.Repeat(fmt.Sprint(n, " "), 2000)
	table, link := fmt.Sprint(name, "-", n, ".sst"), name+"-link.sst"
	f, err := s.Create(table, category)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if n > 0 {
		if err := s.Remove(link); err != nil {
			return err
		}
	}
	if err := s.Link(table, link); err != nil {
		return err
	}
	log, err := s.OpenReadWrite(name+"-log", category)
	if err != nil {
		return err
	}
	_, err = log.WriteAt([]byte(text), int64(n*3))
	second, err2 := s.OpenReadWrite(name+"-log", category)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	_, err = second.WriteAt([]byte("x"), int64(n*3))
	p := make([]byte, 1)
	_, err2 = log.ReadAt(p, int64(n*3))
	if err = errors.Join(err, err2, log.Close(), second.Close()); err != nil {
		return err
	}
	if p[0] != 'x' {
		return fmt.Errorf("%s came to be two files", name)
	}
	for _, each := range []string{table, link} {
		if got, err := read(s, each); err != nil || got != text {
			return fmt.Errorf("%s: %d bytes of %d, %v", each, len(got), len(text), err)
		}
	}
	return s.Remove(table)
}

// midway does something when a copy is whole, before it takes its place.
type midway struct {
	vfs.FS
	then func()
}

type midwayFile struct {
	vfs.File
	then func()
}

func (m *midway) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := m.FS.Create(name, category)
	if err == nil && strings.HasSuffix(name, renewing) {
		return midwayFile{f, m.then}, nil
	}
	return f, err
}

func (f midwayFile) Sync() error {
	f.then()
	return f.File.Sync()
}

// A copy that was begun under a key which has gone by its end takes nobody's place.
func TestAKeyGoesWhileACopyIsMadeUnderIt(t *testing.T) {
	one, two, three := newLine(), newLine(), newLine()
	below := &midway{FS: vfs.NewMem()}
	s := New(below, keysOf(t, one))
	write(t, s, "file", "content")
	if err := s.Change("", keysOf(t, two, one)); err != nil {
		t.Fatal(err)
	}
	below.then = func() {
		if err := s.Change("", keysOf(t, three, one)); err != nil {
			t.Error(err)
		}
	}
	if files, left, err := s.RenewBeside("", noRest); err != nil || files != 0 || left != 1 {
		t.Error(files, left, err)
	}
	mustHold(t, s, "file", "content")
	if names, err := below.List(""); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
}
