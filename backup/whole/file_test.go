package whole

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// W1: two that are made under one name do not meet, and what was not published is gone.
func TestWhoIsFirstHasTheName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var all []*File
	for _, text := range []string{"one", "two", "three"} {
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	if err := errors.Join(all[1].Finish(), all[1].Publish()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(all[0].Finish(), all[0].Publish()); !errors.Is(err, os.ErrExist) {
		t.Errorf("the second one: %v", err)
	}
	for _, f := range all { // of which one was never finished
		if err := f.Abandon(); err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "two" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a third one: %v", err)
	}
}

// What has its name, but may lose it by a power cut, is not told to be missing; what is left of its other name goes.
func TestWhatIsThereButNotDurableIsSaidToBe(t *testing.T) {
	broken := errors.New("the disk is broken")
	defer func(was func(string) error) { syncDir = was }(syncDir)
	syncDir = func(string) error { return broken }
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	err = f.Publish()
	if want := filepath.Join(dir, "f") + " is there, but not known to be durable: the disk is broken"; err == nil ||
		err.Error() != want || !errors.Is(err, ErrNotDurable) || !errors.Is(err, broken) {
		t.Errorf("%v, want %s", err, want)
	}
	if err := f.Abandon(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "f" || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// W3: what kept a file from being read is told instead of what seemed wrong with it.
func TestWhatKeepsAFileFromBeingRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	short := errors.New("it is short")
	if n, err := io.Copy(io.Discard, s); n != 100 || err != nil || s.Told(short) != short || s.Told(nil) != nil {
		t.Errorf("%d, %v, %v", n, err, s.Told(short))
	}
	cancel()
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, context.Canceled) || !errors.Is(s.Told(short), err) {
		t.Errorf("%v, %v", err, s.Told(short))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := s.ReadAt(make([]byte, 1), 0); err == nil || !errors.Is(s.Told(short), os.ErrClosed) {
		t.Errorf("%v, %v", err, s.Told(short))
	}
}
