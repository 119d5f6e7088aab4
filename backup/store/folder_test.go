package store_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/backup/store/storetest"
)

func folder(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := store.Open("file://"+filepath.ToSlash(dir), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return folder(t, t.TempDir()) })
}

func TestAFolderThatIsNotThereIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	s := folder(t, dir)
	if err := s.Put(t.Context(), "a", strings.NewReader("x")); !errors.Is(err, store.ErrNoPlace) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.List(t.Context(), ""); !errors.Is(err, store.ErrNoPlace) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNoPlace) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}

// What else lies in a folder is nobody's: links lead nowhere, and parts and strange names are not listed.
func TestNoWayOutOfAFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(outside, "secret"): "secret", filepath.Join(dir, "with space"): "x",
		filepath.Join(dir, ".hidden"): "x",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink(".", filepath.Join(dir, "loop")), os.Mkdir(filepath.Join(dir, "lost+found"), 0)); err != nil {
		t.Fatal(err)
	}
	s := folder(t, dir)
	if err := s.Put(t.Context(), "link/new", strings.NewReader("x")); err == nil {
		t.Error("a link led out as something was put")
	}
	if r, err := s.Get(t.Context(), "link/secret"); err == nil {
		text, _ := io.ReadAll(r)
		t.Errorf("a link led out to %q", text)
	}
	if err := s.Delete(t.Context(), "link/secret"); err == nil {
		t.Error("a link led out as something was deleted")
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("%v, %v: want nothing", list, err)
	}
}

// A process that was killed leaves its part, which the next one removes; that of one that is at work stays.
func TestPartsOfTheDeadAreSwept(t *testing.T) {
	dir := t.TempDir()
	parts := filepath.Join(dir, ".parts")
	if err := errors.Join(os.Mkdir(parts, 0o700), os.WriteFile(filepath.Join(parts, "dead"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := folder(t, dir)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), "slow", r) }()
	if _, err := w.Write([]byte("be")); err != nil { // now its part is there
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "fast", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(parts, "dead")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part of the dead: %v", err)
	}
	_, err := w.Write([]byte("hind"))
	if err := errors.Join(err, w.Close(), <-done); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "slow")); err != nil || string(text) != "behind" {
		t.Errorf("%q, %v", text, err)
	}
	if left, err := os.ReadDir(parts); err != nil || len(left) != 0 {
		t.Errorf("%v, %v: want no parts", left, err)
	}
}

func TestPlaces(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	for where, says := range map[string]string{
		"":                          "neither file:// nor s3://",
		"/var/backups":              "neither file:// nor s3://",
		"ftp://user:hush@host/path": "neither file:// nor s3://",
		"file://dir":                "from the root",
		"file://":                   "from the root",
		"file:///a?b=c":             "%3F",
		"file:///a%zz":              "%25",
		"s3://":                     "bucket",
		"s3://UPPER/x":              "bucket",
		"s3://bucket/x":             "region",
		"s3://bucket/../x?region=r": "prefix",
		"s3://bucket/x?region=r&endpoint=host:9000":              "https://host:port",
		"s3://bucket/x?region=r&endpoint=https://user:hush@host": "keys are not written here",
		"s3://bucket/x?region=r&endpoint=https://host/path":      "behind the host",
		"s3://bucket/x?region=r&region=s":                        "twice",
		"s3://user:hush@bucket/x?region=r":                       "keys are not written here",
		"s3://user:hush?x@bucket/x?region=r":                     "cannot be read",
		"s3://user:1hush?1hush@bucket":                           "cannot be read",
		"s3://user/hush?hush@bucket":                             "keys are not written here",
		"s3://bucket/x?region=r&key=a@hush":                      "not known",
		"s3://user:hush%zz@bucket/x?region=r":                    "cannot be read",
		"s3://bucket/x?region=r&secret_key=hush":                 "not known",
		"s3://bucket/x?region=r&x=%zz":                           "cannot be read",
	} {
		s, err := store.Open(where, store.Options{})
		if !errors.Is(err, store.ErrPlace) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v; want %q", where, s, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	if s, err := store.Open("file:///a%20b%25/", store.Options{}); err != nil || s.String() != "file:///a b%25" {
		t.Errorf("%v, %v", s, err)
	}
}

// A walk holds a page of names and no more, however many there are in one folder, and comes to each once.
func TestAWalkHoldsAPage(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open("file://"+filepath.ToSlash(dir), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	const all = 50_000
	for i := range all {
		if err := os.WriteFile(filepath.Join(dir, "log", fmt.Sprintf("%0150d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, seen := held(), uint64(0), 0
	err = s.Walk(t.Context(), "log/", func(store.Object) error {
		if seen++; seen%10_000 == 0 {
			most = max(most, held())
		}
		return nil
	})
	if err != nil || seen != all {
		t.Errorf("%d of %d: %v", seen, all, err)
	}
	if most > before+4<<20 { // all of them are 15 MB and more
		t.Errorf("%d bytes are held", most-before)
	}
}
