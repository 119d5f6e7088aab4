package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// contentFunc is a Content.
type contentFunc func(kv.Options, func(replication.Seed) (*replication.Metadata, error)) error

func (f contentFunc) Put(o kv.Options, describe func(replication.Seed) (*replication.Metadata, error)) error {
	return f(o, describe)
}

// TestADirectoryIsSownByOneAlone: neither another Sow nor a node comes in meanwhile, and none of them takes away what
// is not its own. What failed takes its own away.
func TestADirectoryIsSownByOneAlone(t *testing.T) {
	c := testConfig(t, "solo")
	dir, other := c.Replication.DataDir, filepath.Join(c.Replication.DataDir, identityFile)
	never := contentFunc(func(kv.Options, func(replication.Seed) (*replication.Metadata, error)) error {
		t.Error("put beside another")
		return nil
	})
	refused := func(when string, err error) {
		if err == nil {
			t.Errorf("%s: taken", when)
		}
	}
	broken := errors.New("broken")
	err := Sow(c, contentFunc(func(o kv.Options, _ func(replication.Seed) (*replication.Metadata, error)) error {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return err
		}
		refused("sown twice", Sow(c, never, &logged{}))
		err := Run(t.Context(), c, Options{Version: "test", LogTo: &logged{}})
		if err == nil || !strings.Contains(err.Error(), "is another process using it?") {
			t.Errorf("a node starts on what is being sown: %v", err)
		}
		for _, path := range []string{o.Dir, other} {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("gone while it was written: %v", err)
			}
		}
		return broken
	}), &logged{})
	if !errors.Is(err, broken) {
		t.Errorf("ends with %v", err)
	}
	if err := checkEmpty(dir); err != nil {
		t.Errorf("what failed left something: %v", err)
	}
	held, err := durable.OS.Lock(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	err = Sow(c, never, &logged{})
	if err == nil || !strings.Contains(err.Error(), "is another process using it?") {
		t.Errorf("sown while another holds it: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
}
