package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
)

// Run tests a kind of store. Each call of open returns an empty one.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"objects", objects},
		{"names", names},
		{"lists", lists},
		{"whole or not at all", wholeOrNotAtAll},
		{"replaced while it is read", replacedWhileRead},
		{"several at a time", severalAtATime},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s store.Store, name, text string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// want tests what a name holds.
func want(t *testing.T, s store.Store, name, text string) {
	t.Helper()
	r, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != text {
		t.Fatalf("%s: %d bytes %.40q, %v; want %d bytes %.40q", name, len(got), got, err, len(text), text)
	}
}

func wantNone(t *testing.T, s store.Store, name string) {
	t.Helper()
	if r, err := s.Get(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("%s: %v, %v; want that there is none", name, r, err)
	}
}

func objects(t *testing.T, s store.Store) {
	wantNone(t, s, "a")
	wantNone(t, s, "f/a")
	put(t, s, "a", "one")
	put(t, s, "f/g/a", "two")
	put(t, s, "empty", "")
	want(t, s, "a", "one")
	want(t, s, "f/g/a", "two")
	want(t, s, "empty", "")
	wantNone(t, s, "f/g")
	wantNone(t, s, "a/b")
	put(t, s, "a", "another")
	want(t, s, "a", "another")
	for range 2 {
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f/g", "empty/b"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantNone(t, s, "a")
	want(t, s, "f/g/a", "two")
	large := strings.Repeat("0123456789abcdef", 200_003) // more than 3 MiB
	put(t, s, "large", large)
	want(t, s, "large", large)
}

func names(t *testing.T, s store.Store) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".a", "a/.b", `a\b`, `..\a`, "a:b", "a b",
		"a\x00b", "ä", "a?b", "a#b", "a%2fb", strings.Repeat("n", 201), strings.Repeat("n/", 400) + "n",
	} {
		if err := s.Put(t.Context(), name, strings.NewReader("x")); !errors.Is(err, store.ErrName) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Get(t.Context(), name); !errors.Is(err, store.ErrName) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, store.ErrName) {
			t.Errorf("delete %q: %v", name, err)
		}
	}
	for _, name := range []string{"a-b_c.d=e@f", strings.Repeat("n", 200), strings.Repeat("n/", 20) + "n"} {
		put(t, s, name, name)
		want(t, s, name, name)
	}
}

func lists(t *testing.T, s store.Store) {
	all := []string{"a-b", "a.b", "a/b", "a/c/d", "ab", "b"} // in the order of bytes, which is not that of folders
	began := time.Now().Add(-time.Minute)
	for i, name := range slices.Backward(all) {
		put(t, s, name, strings.Repeat("x", i))
	}
	for _, c := range []struct {
		prefix string
		names  []string
	}{
		{"", all}, {"a", all[:5]}, {"a/", all[2:4]}, {"a/c", all[3:4]}, {"a/c/d", all[3:4]}, {"a/c/d/", nil},
		{"b", all[5:]}, {"c", nil}, {"/", nil}, {"..", nil}, {"../", nil}, {"a//", nil},
	} {
		list, err := s.List(t.Context(), c.prefix)
		if err != nil {
			t.Errorf("%q: %v", c.prefix, err)
		}
		left, visited := errors.New("left"), 0
		err = s.Walk(t.Context(), c.prefix, func(o store.Object) error {
			if visited++; !slices.Contains(list, o) {
				t.Errorf("%q: %+v is walked to, and not listed", c.prefix, o)
			}
			return map[bool]error{true: left}[visited == 2]
		})
		if visited != min(2, len(list)) || errors.Is(err, left) != (visited == 2) {
			t.Errorf("%q: a walk that is left at the second of %d came to %d: %v", c.prefix, len(list), visited, err)
		}
		var got []string
		for _, o := range list {
			got = append(got, o.Name)
			if o.Size != int64(slices.Index(all, o.Name)) {
				t.Errorf("%s: of %d bytes", o.Name, o.Size)
			}
			if o.Modified.Before(began) || o.Modified.After(time.Now().Add(time.Minute)) {
				t.Errorf("%s: put at %v", o.Name, o.Modified)
			}
		}
		if !slices.Equal(got, c.names) {
			t.Errorf("%q: %q, want %q", c.prefix, got, c.names)
		}
	}
}

var errTorn = errors.New("the source broke off")

// torn gives so many bytes, and then an error.
type torn struct{ left int }

func (r *torn) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errTorn
	}
	n := min(len(p), r.left)
	r.left -= n
	return n, nil
}

func wholeOrNotAtAll(t *testing.T, s store.Store) {
	put(t, s, "kept", "before")
	for _, bytes := range []int{0, 1, 3 << 20} {
		for _, name := range []string{"kept", "new", "f/new"} {
			if err := s.Put(t.Context(), name, &torn{left: bytes}); !errors.Is(err, errTorn) {
				t.Errorf("%s broke off after %d: %v", name, bytes, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "kept", strings.NewReader("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("a put that was cancelled: %v", err)
	}
	want(t, s, "kept", "before")
	wantNone(t, s, "new")
	wantNone(t, s, "f/new")
	list, err := s.List(t.Context(), "")
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v: want only what was kept", list, err)
	}
}

func replacedWhileRead(t *testing.T, s store.Store) {
	text := strings.Repeat("before", 1<<10)
	put(t, s, "a", text)
	r, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "a", "behind")
	got, err := io.ReadAll(r)
	if err == nil && string(got) != text { // it may fail, but not be mixed
		t.Errorf("what was replaced while it was read gave %d bytes", len(got))
	}
	want(t, s, "a", "behind")
}

func severalAtATime(t *testing.T, s store.Store) {
	text := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 100<<10) }
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				if err := s.Put(t.Context(), "shared", bytes.NewReader(text(i))); err != nil {
					t.Error(err)
				}
				own := fmt.Sprintf("own/%d", i)
				if err := s.Put(t.Context(), own, bytes.NewReader(text(i))); err != nil {
					t.Error(err)
				}
				if _, err := s.List(t.Context(), "own/"); err != nil {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), own); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, err := s.Get(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, text(int(got[0]-'a'))) {
		t.Errorf("%d bytes that nobody put, %v", len(got), err)
	}
}
