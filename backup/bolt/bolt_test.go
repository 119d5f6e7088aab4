package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written returns a file of the buckets, from their names to keys and values.
func written(t testing.TB, buckets map[string]map[string]string) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f)
	for _, name := range slices.Sorted(maps.Keys(buckets)) {
		if err := w.Bucket(name); err != nil {
			t.Fatal(err)
		}
		for _, key := range slices.Sorted(maps.Keys(buckets[name])) {
			if err := w.Put([]byte(key), []byte(buckets[name][key])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(p []byte, bucket string) (all map[string]string, found bool, err error) {
	f, err := Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		return nil, false, err
	}
	all = map[string]string{}
	found, err = f.Each(bucket, func(key, value []byte) error {
		all[string(key)] = string(value)
		return nil
	})
	return all, found, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	many := map[string]string{}
	for i := range 20_000 { // three levels of pages
		many[fmt.Sprintf("key %06d %s", i, strings.Repeat("k", i%40))] = strings.Repeat("v", i%100)
	}
	buckets := map[string]map[string]string{
		"empty": {}, "many": many,
		"large": {"a": strings.Repeat("x", 3*pageBytes), "b": "", "c": strings.Repeat("y", pageBytes)},
	}
	p := written(t, buckets)
	if len(p)%pageBytes != 0 {
		t.Errorf("%d bytes", len(p))
	}
	for name, want := range buckets {
		got, found, err := read(p, name)
		if err != nil || !found || !maps.Equal(got, want) {
			t.Errorf("%s: %d keys of %d, %v, %v", name, len(got), len(want), found, err)
		}
	}
	if _, found, err := read(p, "other"); found || err != nil {
		t.Errorf("a bucket that is not there: %v, %v", found, err)
	}
	second := bytes.Clone(p) // the first meta is the older one, and lost
	clear(second[:pageBytes])
	if got, _, err := read(second, "large"); err != nil || len(got) != 3 {
		t.Errorf("by the second meta: %d keys, %v", len(got), err)
	}
}

// What comes out of order is refused, and so is a file that says something else than can be.
func TestBrokenFilesAreRefused(t *testing.T) {
	w := NewWriter(nil)
	if err := errors.Join(w.Bucket("b"), w.Put([]byte("b"), nil)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a key twice": w.Put([]byte("b"), nil), "a key of before": w.Put([]byte("a"), nil),
		"no key": w.Put(nil, nil), "a bucket of before": w.Bucket("a"), "a bucket twice": w.Bucket("b"),
	} {
		if err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	p := written(t, map[string]map[string]string{"b": {"k": "v", "l": "w"}})
	const leaf = 2 * pageBytes
	for what, change := range map[string]func(p []byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"cut":   func(p []byte) []byte { return p[:len(p)-1] },
		"no meta": func(p []byte) []byte {
			p[20], p[pageBytes+20] = 9, 9
			return p
		},
		"another page":   func(p []byte) []byte { p[leaf] = 9; return p },
		"another kind":   func(p []byte) []byte { p[leaf+8] = 4; return p },
		"beyond the end": func(p []byte) []byte { p[leaf+12] = 200; return p },
		"many elements":  func(p []byte) []byte { p[leaf+11] = 255; return p },
		"a long key":     func(p []byte) []byte { p[leaf+16+11] = 255; return p },
		"out of order":   func(p []byte) []byte { p[leaf+16+32] = 'z'; return p },
		"a branch to itself": func(p []byte) []byte {
			p[leaf+8], p[leaf+10] = kindBranch, 1
			binary.LittleEndian.PutUint64(p[leaf+16+8:], 2)
			return p
		},
	} {
		if got, _, err := read(change(bytes.Clone(p)), "b"); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	p := written(f, map[string]map[string]string{"a": {}, "b": {"k": "v", "l": strings.Repeat("w", pageBytes)}})
	f.Add(p, 0, []byte{})
	f.Add(p, 2*pageBytes+8, []byte{kindBranch, 0, 1})
	f.Fuzz(func(t *testing.T, p []byte, at int, change []byte) {
		p = bytes.Clone(p)
		if at >= 0 && at < len(p) {
			copy(p[at:], change)
		}
		for _, bucket := range []string{"a", "b"} {
			if _, _, err := read(p, bucket); err != nil && !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
		}
	})
}
