package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

const stall = time.Minute

// hanging is a folder whose disk answers while answers is closed.
func hanging(t *testing.T, answers chan struct{}) (*folder, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := openFolder(filepath.ToSlash(dir), stall)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*folder)
	d.open = func(dir string) (*os.Root, error) {
		<-answers
		return os.OpenRoot(dir)
	}
	return d, dir
}

// A disk that does not answer is an error in time, of every call, and no call more hangs for it.
func TestAFolderThatHangs(t *testing.T) {
	for name, call := range map[string]func(context.Context, Store) error{
		"put":    func(ctx context.Context, s Store) error { return s.Put(ctx, "a", strings.NewReader("new")) },
		"delete": func(ctx context.Context, s Store) error { return s.Delete(ctx, "a") },
		"walk": func(ctx context.Context, s Store) error {
			return s.Walk(ctx, "", func(Object) error { return errors.New("nobody waits for an object any more") })
		},
		"list": func(ctx context.Context, s Store) error { _, err := s.List(ctx, ""); return err },
		"get":  func(ctx context.Context, s Store) error { _, err := s.Get(ctx, "a"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				answers := make(chan struct{})
				d, dir := hanging(t, answers)
				if err := os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err := call(t.Context(), d)
				if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), d.String()) {
					t.Fatalf("%v", err)
				}
				if took := time.Since(began); took > 2*stall {
					t.Errorf("it was waited for %v", took)
				}
				began = time.Now()
				if err := call(t.Context(), d); !errors.Is(err, ErrStalled) || time.Since(began) != 0 {
					t.Errorf("the next, after %v: %v", time.Since(began), err)
				}
				close(answers)
				virtual.Wait()
				if held, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(held) != "old" {
					t.Errorf("what had failed was done once the disk answered: %q, %v", held, err)
				}
				if err := d.Put(t.Context(), "b", strings.NewReader("x")); err != nil {
					t.Errorf("now that it answers: %v", err)
				}
			})
		})
	}
}

// slow is a reader that is no folder's.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(10 * stall)
	return s.Reader.Read(p)
}

// What a folder is given, and who is shown what it has, may take their time.
func TestAFolderDoesNotStallForOthers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		close(answers)
		d, _ := hanging(t, answers)
		if err := d.Put(t.Context(), "a", slow{strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		seen := 0
		err := d.Walk(t.Context(), "", func(Object) error {
			time.Sleep(10 * stall)
			seen++
			return nil
		})
		if err != nil || seen != 1 {
			t.Errorf("%d seen: %v", seen, err)
		}
		file, err := d.Get(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * stall)
		text, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close()); err != nil || string(text) != "x" {
			t.Errorf("%q, %v", text, err)
		}
	})
}
