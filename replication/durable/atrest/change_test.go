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
	h, encrypted, err := s.header(name)
	if err != nil || !encrypted {
		t.Fatal(name, encrypted, err)
	}
	return h.key
}

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

// Keys change while files are in use (A6): new files are under the new one, and those that are there stay as and where
// they are, for who has them open and for who comes to open them. Whoever comes next, with nobody beside him, writes
// them anew, and then the former key may go.
func TestKeysChangeBesideWhoeverWrites(t *testing.T) {
	below := vfs.NewMem()
	one, two := newLine(), newLine()
	s := New(below, keysOf(t, one))
	first, second := keysOf(t, one).active.id, keysOf(t, two).active.id
	write(t, s, "old.sst", "a table")
	making, err := s.Create("making", category)
	if err != nil {
		t.Fatal(err)
	}
	log := opened(t, s, "log", "begun")
	if err := opened(t, s, "rest", "written and closed").Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Change(keysOf(t, two, one)); err != nil {
		t.Fatal(err)
	}
	write(t, s, "new", "made behind it")
	if err := opened(t, s, "new-log", "begun behind it").Close(); err != nil {
		t.Fatal(err)
	}
	again := opened(t, s, "log", "")
	if _, err = again.WriteAt([]byte("ended"), 5); err == nil {
		_, err = log.WriteAt([]byte(", all"), 10)
	}
	if err = errors.Join(err, again.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	if err := opened(t, s, "rest", "WRITTEN").Close(); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(making, "made")
	if err = errors.Join(err, making.Close()); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"old.sst": "a table", "making": "made", "log": "begunended, all", "rest": "WRITTEN and closed",
		"new": "made behind it", "new-log": "begun behind it",
	}
	for name, text := range texts {
		mustHold(t, s, name, text)
		want := first
		if strings.HasPrefix(name, "new") {
			want = second
		}
		if id := keyOf(t, s, name); id != want {
			t.Errorf("%s is under %s", name, id)
		}
	}
	next := New(below, keysOf(t, two, one))
	if files, _, err := next.RenewAll("", func(Found) bool { return true }); err != nil || files != 4 {
		t.Fatal(files, err)
	}
	last := New(below, keysOf(t, two))
	for name, text := range texts {
		mustHold(t, last, name, text)
	}
}

// A file of several names is written anew as one file, and what a crash left of former attempts goes.
func TestNamesOfAFileStayTogether(t *testing.T) {
	dir := t.TempDir()
	one, two := newLine(), newLine()
	name, other := filepath.Join(dir, "a.sst"), filepath.Join(dir, "b.sst")
	before := New(vfs.Default, keysOf(t, one))
	write(t, before, name, "a table")
	if err := before.Link(name, other); err != nil {
		t.Fatal(err)
	}
	if info, err := vfs.Default.Stat(name); err != nil || inodeOf(info) == (inode{}) {
		t.Skip("nobody knows here which names are one file:", err)
	}
	write(t, vfs.Default, other+renewing, "half of it")
	s := New(vfs.Default, keysOf(t, two, one))
	if files, _, err := s.RenewAll(dir, func(Found) bool { return true }); err != nil || files != 1 {
		t.Fatal(files, err)
	}
	var all []Found
	err := Survey(vfs.Default, dir, func(f Found) error { all = append(all, f); return nil })
	if err != nil || len(all) != 2 || all[0].inode != all[1].inode {
		t.Error(all, err)
	}
	last := New(vfs.Default, keysOf(t, two))
	mustHold(t, last, name, "a table")
	mustHold(t, last, other, "a table")
	if names, err := vfs.Default.List(dir); err != nil || len(names) != 2 {
		t.Error("left over:", names, err)
	}
}

// Keys that cannot take the place of those at hand change nothing: what is made behind a refusal is under the key of
// before, and everything is read.
func TestARefusedChangeLeavesNothing(t *testing.T) {
	one, two, three := newLine(), newLine(), newLine()
	first, unused := keysOf(t, one).active.id, keysOf(t, three).active.id
	same := keysOf(t, two, one, three)
	same.all[first] = &key{first, keysOf(t, two).active.secret}
	s := New(vfs.NewMem(), keysOf(t, one, three))
	write(t, s, "before", "content")
	for what, refused := range map[string]struct {
		keys Keys
		err  error
		says string
	}{
		"needed":       {keysOf(t, two, three), ErrGoes, first.String()},
		"not needed":   {keysOf(t, two, one), ErrGoes, unused.String()},
		"all":          {keysOf(t, two), ErrGoes, first.String()},
		"none":         {Keys{}, ErrPlain, ""},
		"plain":        {keysOf(t, "plain", one, three), ErrPlain, ""},
		"another's ID": {same, ErrGoes, first.String()},
	} {
		if err := s.Change(refused.keys); !errors.Is(err, refused.err) || !strings.Contains(err.Error(), refused.says) {
			t.Errorf("%s: %v", what, err)
		}
		if s.Keys().Has(keysOf(t, two).active.id) {
			t.Errorf("%s: the new key is at hand", what)
		}
		write(t, s, what, "content")
		if err := opened(t, s, what+"-log", "content").Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"before", what, what + "-log"} {
			mustHold(t, s, name, "content")
			if id := keyOf(t, s, name); id != first {
				t.Errorf("%s: refused, and used: %s is under %s", what, name, id)
			}
		}
	}
	none := New(vfs.NewMem(), keysOf(t, "plain", one))
	if err := none.Change(keysOf(t, one)); !errors.Is(err, ErrPlain) {
		t.Error("files become encrypted beside who uses them:", err)
	}
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
		if err := s.Change(keysOf(t, lines[n%3], lines[(n+1)%3], lines[(n+2)%3])); err != nil {
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
