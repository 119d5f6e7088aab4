package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/backup/bolt"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/replication"
)

// database returns what is exported of an empty store, without its SHA-256.
func database(t testing.TB) []byte {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(t.TempDir(), "exported")
	if _, err := Export(t.Context(), s, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Export(t.Context(), s, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("over another: %v", err)
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p[:len(p)-sha256.Size]
}

func summed(p []byte) []byte {
	sum := sha256.Sum256(p)
	return append(p[:len(p):len(p)], sum[:]...)
}

func keep(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func take(t testing.TB, path string, unsummed bool) (Found, error) {
	s, err := Open(path, unsummed)
	if err != nil {
		return Found{}, err
	}
	i := &Import{Snapshot: s}
	err = i.Put(kv.Options{FS: vfs.NewMem(), Dir: "kv"}, func(replication.Seed) (*replication.Metadata, error) {
		return &replication.Metadata{AppliedIndex: 2}, nil
	})
	return i.Found, err
}

func TestFiles(t *testing.T) {
	db := database(t)
	for what, c := range map[string]struct {
		content  []byte
		unsummed bool
		says     string // "": taken
	}{
		"saved":              {summed(db), false, ""},
		"copied":             {db, true, ""},
		"copied, not said":   {db, false, "--skip-hash-check"},
		"cut at a page":      {db[:len(db)-4*blockBytes], false, "it was cut"},
		"something else":     {make([]byte, 4*blockBytes), false, "not begin as one"},
		"cut":                {summed(db)[:len(db)-1], true, "it was cut"},
		"changed":            {append(summed(db)[:len(db):len(db)], make([]byte, sha256.Size)...), false, "changed"},
		"copied and cut":     {db[:len(db)-blockBytes], true, "it was cut"},
		"a snapshot of ours": {summed(append([]byte(ownMagic), db[:505]...)), false, "mimir snapshot restore"},
		"empty":              {nil, true, "not a whole"},
	} {
		f, err := take(t, keep(t, c.content), c.unsummed)
		if c.says == "" && (err != nil || f.Revision != 1) ||
			c.says != "" && (!errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %+v, %v", what, f, err)
		}
		hint := what == "copied, not said"
		if err != nil && strings.Contains(err.Error(), "--skip-hash-check") != hint {
			t.Errorf("%s: what would help, or not: %v", what, err)
		}
	}
}

// What every etcd has must be there: where it is not, something was lost, and its users and leases maybe too.
func TestABucketThatLacksIsNamed(t *testing.T) {
	all := []string{bucketAuth, bucketAuthRoles, bucketAuthUsers, bucketKey, bucketLease, bucketMeta}
	for _, lacks := range append(all, "") {
		f, err := os.Create(filepath.Join(t.TempDir(), "db"))
		if err != nil {
			t.Fatal(err)
		}
		w := bolt.NewWriter(f)
		for _, name := range all {
			if name != lacks {
				err = errors.Join(err, w.Bucket(name))
			}
		}
		if err := errors.Join(err, w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = take(t, f.Name(), true)
		if lacks == "" && err != nil || lacks != "" && (!errors.Is(err, ErrBroken) ||
			!strings.Contains(err.Error(), fmt.Sprintf("no bucket %q", lacks))) {
			t.Errorf("without %q: %v", lacks, err)
		}
	}
}

// Two exports to one name do not damage one another, and one that is given up leaves nothing.
func TestExportsDoNotMeet(t *testing.T) {
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "exported")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Export(ended, s, path); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBroken) {
		t.Errorf("one that was given up: %v", err)
	}
	if _, err := OpenUntil(ended, keep(t, summed(database(t))), false); !errors.Is(err, context.Canceled) ||
		errors.Is(err, ErrBroken) {
		t.Errorf("a file of which the reading was given up: %v", err)
	}
	all := make(chan error)
	for range 4 {
		go func() {
			_, err := Export(t.Context(), s, path)
			all <- err
		}()
	}
	done := 0
	for range 4 {
		if err := <-all; err == nil {
			done++
		} else if !errors.Is(err, os.ErrExist) {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); done != 1 || len(left) != 1 || err != nil {
		t.Errorf("%d were made: %v, %v", done, left, err)
	}
	if _, err := Open(path, false); err != nil {
		t.Error(err)
	}
}

// FuzzImport: a database in which anything was changed is taken or refused, and never more.
func FuzzImport(f *testing.F) {
	db := database(f)
	f.Add(2*4096+8, []byte{4})
	f.Add(4096, []byte("x"))
	f.Fuzz(func(t *testing.T, at int, change []byte) {
		if at < 0 || at >= len(db) {
			return
		}
		p := append([]byte(nil), db...)
		copy(p[at:], change)
		_, err := take(t, keep(t, summed(p)), false)
		for _, known := range []error{nil, ErrBroken, kv.ErrForeign, auth.ErrForeign} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatal(err)
	})
}
