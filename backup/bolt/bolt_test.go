package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
		"no pages": func(p []byte) []byte {
			for _, at := range []int{pageHeadBytes, pageBytes + pageHeadBytes} {
				m, _ := decodeMeta(p[at:])
				m.pages = 0
				copy(p[at:], m.encode())
			}
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
		if got, _, err := read(change(bytes.Clone(p)), "b"); !errors.Is(err, ErrBroken) ||
			strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	_, err := Open(bytes.NewReader(p), metaBytes)
	if !errors.Is(err, ErrBroken) || strings.Contains(err.Error(), "%!") {
		t.Errorf("of which only the beginning counts: %v", err)
	}
}

// failing is a disk that fails from an offset on.
type failing struct {
	io.ReaderAt
	from int64
}

var errDisk = errors.New("the disk fails")

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, at)
}

// A disk that fails says nothing of the file.
func TestADiskThatFailsIsNoBrokenFile(t *testing.T) {
	p := written(t, map[string]map[string]string{"b": {"k": strings.Repeat("v", 3*pageBytes)}})
	for from := range int64(len(p)-pageBytes) / 512 { // the last page is that of free ones
		f, err := Open(failing{bytes.NewReader(p), from * 512}, int64(len(p)))
		if err == nil {
			_, err = f.Each("b", func(_, _ []byte) error { return nil })
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrBroken) {
			t.Errorf("from %d on: %v", from*512, err)
		}
	}
	f, err := Open(failing{bytes.NewReader(p), 4 * pageBytes}, int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	f.r = bytes.NewReader(p[:2*pageBytes]) // somebody cut it meanwhile
	if _, err := f.Each("b", func(_, _ []byte) error { return nil }); !errors.Is(err, ErrBroken) {
		t.Errorf("cut while it is read: %v", err)
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
