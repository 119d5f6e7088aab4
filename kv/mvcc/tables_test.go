package mvcc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/command"
)

func openDB(t testing.TB) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{
		FS: vfs.NewMem(), Comparer: Comparer, FormatMajorVersion: pebble.FormatNewest, DisableWAL: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// change writes to db what f does, as one batch.
func change(t testing.TB, db *pebble.DB, f func(b *pebble.Batch, w *Writer) error) {
	t.Helper()
	b := db.NewBatch()
	if err := errors.Join(f(b, NewWriter(b)), b.Commit(pebble.NoSync), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// written is a version as the test wrote it.
type written struct {
	key string
	v   Version
}

// history writes n random changes of few keys, one or two a revision, and returns them.
func history(t testing.TB, db *pebble.DB, random *rand.Rand, n int) (all []written) {
	t.Helper()
	keys := []string{"a", "a\x00", "a\x00\x01", "ab", "b\x0e", "\xff"}
	at := Stamp{Main: FirstRevision + 1}
	change(t, db, func(_ *pebble.Batch, w *Writer) error {
		for range n {
			one := written{key: keys[random.IntN(len(keys))], v: Version{Stamp: at, Kind: KindDelete}}
			if random.IntN(3) > 0 {
				value := fmt.Append(nil, "value ", at)
				one.v = Version{
					Stamp: at, Kind: KindPut, Create: at.Main, Number: 1, Lease: int64(random.IntN(2)), Value: value,
				}
				if prev := newest(all, one.key, at.Main); prev.Exists() {
					one.v.Create, one.v.Number = prev.Create, prev.Number+1
				}
			}
			all = append(all, one)
			if err := w.Version([]byte(one.key), &one.v); err != nil {
				return err
			}
			if at.Sub++; random.IntN(3) > 0 || at.Sub == 2 {
				at = Stamp{Main: at.Main + 1}
			}
		}
		return nil
	})
	return all
}

// newest is what Newest has to find.
func newest(all []written, key string, rev int64) (v Version) {
	for _, one := range all {
		if one.key == key && one.v.Main <= rev {
			v = one.v
		}
	}
	return v
}

func sameVersion(a, b Version) bool {
	return a.Stamp == b.Stamp && a.Kind == b.Kind && a.Create == b.Create && a.Number == b.Number &&
		a.Lease == b.Lease &&
		string(a.Value) == string(b.Value)
}

// TestReader finds and scans at every revision what a list of all changes has (M1).
func TestReader(t *testing.T) {
	db, random := openDB(t), rand.New(rand.NewPCG(1, 2))
	all := history(t, db, random, 200)
	last := all[len(all)-1].v.Main
	r, err := NewReader(db)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	names := []string{"a", "a\x00", "a\x00\x01", "ab", "b", "b\x0e", "c", "\xff"}
	for rev := int64(FirstRevision); rev <= last; rev++ {
		for _, key := range names {
			got, err := r.Newest([]byte(key), rev)
			if want := newest(all, key, rev); err != nil || !sameVersion(got, want) {
				t.Fatalf("%q at %d: %+v, %v; want %+v", key, rev, got, err, want)
			}
		}
		sp := command.SpanOf([]byte(names[random.IntN(len(names))]), []byte(names[random.IntN(len(names))]))
		var want []string
		for _, key := range names {
			if v := newest(all, key, rev); v.Exists() && sp.Contains([]byte(key)) {
				want = append(want, key)
			}
		}
		limit := random.Int64N(4)
		var got []string
		count, err := r.Scan(context.Background(), sp, rev, limit, func(key []byte, v *Version) error {
			if !sameVersion(*v, newest(all, string(key), rev)) {
				t.Errorf("%q at %d is visited as %+v", key, rev, v)
			}
			got = append(got, string(key))
			return nil
		})
		if err != nil || count != int64(len(want)) || !slices.Equal(got, want[:min(int(limit), len(want))]) {
			t.Fatalf("%q, %q at %d: %q of %d, %v; want %q", sp.Start, sp.End, rev, got, count, err, want)
		}
	}
}

// TestLives sees that what is told of keys is what a list of all changes has, since and up to every revision.
func TestLives(t *testing.T) {
	db, random := openDB(t), rand.New(rand.NewPCG(3, 4))
	all := history(t, db, random, 300)
	last := all[len(all)-1].v.Main
	r, err := NewReader(db)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 50 {
		since := random.Int64N(last)
		upTo := since + random.Int64N(last-since+1)
		seen := map[string]bool{}
		sp := command.SpanOf([]byte{0}, []byte{0})
		if random.IntN(2) == 0 {
			sp = command.SpanOf([]byte("a\x00"), []byte("c"))
		}
		look := Look{Span: sp, Since: since, UpTo: upTo, MostFlips: 1 + random.IntN(40)}
		err := r.Lives(t.Context(), look, func(key []byte, changed, made, from int64, there bool, flips []int64) bool {
			seen[string(key)] = true
			turns := 0
			for _, one := range all {
				if one.key == string(key) && one.v.Main > since && one.v.Main <= upTo {
					turns++
				}
			}
			if from < since || from > since && turns <= look.MostFlips || len(flips) > look.MostFlips {
				t.Fatalf("%q is told of from %d on, not %d, with %d flips, at most %d", key, from, since, len(flips),
					look.MostFlips)
			}
			if v := newest(all, string(key), upTo); changed != v.Main {
				t.Fatalf("%q was last changed at %d, not %d, up to %d", key, v.Main, changed, upTo)
			}
			if born := lastBirth(all, string(key), from, upTo); made != born {
				t.Fatalf("%q began to exist at %d, not %d, since %d up to %d", key, born, made, from, upTo)
			}
			exists := there
			for rev := from; rev <= upTo; rev++ {
				for _, flip := range flips { // two in a revision that ended it and began it anew
					exists = exists != (flip == rev)
				}
				if v := newest(all, string(key), rev); v.Exists() != exists {
					t.Fatalf("%q at %d, of %d to %d: %t, flips %d", key, rev, since, upTo, exists, flips)
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if one.v.Main <= upTo && sp.Contains([]byte(one.key)) && !seen[one.key] {
				t.Fatalf("%q is not told of from %d to %d", one.key, since, upTo)
			}
		}
	}
}

// lastBirth returns when the last life of a key began of those that it had from since up to upTo; 0 if it had none.
func lastBirth(all []written, key string, since, upTo int64) int64 {
	for rev := upTo; rev >= since; rev-- {
		if v := newest(all, key, rev); v.Exists() {
			return v.Create
		}
	}
	return 0
}

// A look ends with its context in the middle of a key too: the history of one may be long.
func TestALookEndsWithinAKey(t *testing.T) {
	db := openDB(t)
	change(t, db, func(_ *pebble.Batch, w *Writer) (err error) {
		for at := int64(2); at < 3*cancelCheckKeys && err == nil; at += 2 {
			put := Version{Stamp: Stamp{Main: at}, Kind: KindPut, Create: at, Number: 1}
			gone := Version{Stamp: Stamp{Main: at + 1}, Kind: KindDelete}
			err = errors.Join(w.Version([]byte("k"), &put), w.Version([]byte("k"), &gone))
		}
		return err
	})
	r, err := NewReader(db)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	look := Look{Span: command.SpanOf([]byte{0}, []byte{0}), UpTo: math.MaxInt64, MostFlips: math.MaxInt}
	err = r.Lives(ctx, look, func([]byte, int64, int64, int64, bool, []int64) bool {
		t.Error("it went on")
		return true
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// changes reads the history of the revisions from from to to.
func changes(t testing.TB, db *pebble.DB, from, to int64) (all []written) {
	t.Helper()
	h, err := OpenHistory(db, from, to)
	if err != nil {
		t.Fatal(err)
	}
	for ok := h.First(); ok; ok = h.Next() {
		key, at, err := h.Change()
		if err != nil {
			t.Fatal(err)
		}
		one := written{key: string(key)}
		if one.v, err = h.Version(key, at); err != nil {
			t.Fatal(err)
		}
		one.v.Detach()
		all = append(all, one)
	}
	if err := errors.Join(h.Err(), h.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

func sameChanges(t testing.TB, what string, got, want []written) {
	t.Helper()
	same := func(a, b written) bool { return a.key == b.key && sameVersion(a.v, b.v) }
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("%s: %d changes, want %d:\n got %v\nwant %v", what, len(got), len(want), got, want)
	}
}

func hash(t testing.TB, db *pebble.DB, rev, compact int64) uint32 {
	t.Helper()
	r, err := NewReader(db)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := r.HashHistory(context.Background(), rev, compact)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return sum
}

// contentHashes returns the hash of what can be read at each revision.
func contentHashes(t testing.TB, db *pebble.DB, from, to int64) (hashes []uint32) {
	t.Helper()
	r, err := NewReader(db)
	if err != nil {
		t.Fatal(err)
	}
	for rev := from; rev <= to; rev++ {
		one, err := r.HashContent(context.Background(), rev)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, one)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return hashes
}

// TestHistoryAndItsRemoval reads all changes, removes what a compaction superseded in steps of every size, and sees
// that nothing that can be read changes (M2, M4).
func TestHistoryAndItsRemoval(t *testing.T) {
	for steps := 1; steps < 8; steps++ {
		db := openDB(t)
		all := history(t, db, rand.New(rand.NewPCG(uint64(steps), 2)), 150)
		last := all[len(all)-1].v.Main
		sameChanges(t, "all", changes(t, db, 0, last), all)
		for compact := last / 3; compact <= last; compact += last / 3 {
			before, contents := hash(t, db, last, compact), contentHashes(t, db, compact, last)
			for next, more := (Stamp{}), true; more; more = next != (Stamp{}) {
				change(t, db, func(b *pebble.Batch, _ *Writer) (err error) {
					next, err = RemoveSuperseded(db, b, next, compact, steps)
					return err
				})
				if now := hash(t, db, last, compact); now != before {
					t.Fatalf("steps of %d: hash %x became %x below %d", steps, before, now, compact)
				}
				if now := contentHashes(t, db, compact, last); !slices.Equal(now, contents) {
					t.Fatalf("steps of %d: hashes from %d on changed from %x to %x", steps, compact, contents, now)
				}
			}
			nothingSuperseded(t, db, all, compact)
			from := slices.IndexFunc(all, func(one written) bool { return one.v.Main >= compact })
			sameChanges(t, fmt.Sprint("from ", compact), changes(t, db, 0, last), all[from:])
			r, err := NewReader(db)
			if err != nil {
				t.Fatal(err)
			}
			for rev := compact; rev <= last; rev++ {
				for _, one := range all {
					got, err := r.Newest([]byte(one.key), rev)
					want := newest(all, one.key, rev)
					if want.Main < compact && want.Kind == KindDelete {
						want = Version{} // is removed with what it deleted
					}
					if err != nil || !sameVersion(got, want) {
						t.Fatalf("%q at %d, compacted at %d: %+v, %v; want %+v", one.key, rev, compact, got, err, want)
					}
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// nothingSuperseded sees that no version is left that a change of another revision, at or below the compaction
// revision, superseded.
func nothingSuperseded(t *testing.T, db *pebble.DB, all []written, compact int64) {
	t.Helper()
	h, err := OpenHistory(db, 0, compact)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for i, one := range all {
		later := func(other written) bool {
			return other.key == one.key && one.v.Main < other.v.Main && other.v.Main <= compact
		}
		if one.v.Main >= compact || !slices.ContainsFunc(all[i:], later) {
			continue
		}
		if v, err := h.Version([]byte(one.key), one.v.Stamp); err == nil {
			t.Fatalf("%q of revision %d.%d is left behind the compaction at %d: %+v", one.key, one.v.Main, one.v.Sub,
				compact, v)
		}
	}
}

// TestLeasesAndState writes leases, attached keys, state and metadata, and reads them.
func TestLeasesAndState(t *testing.T) {
	db := openDB(t)
	if s, err := LoadState(db); err != nil || s.Revision != FirstRevision || s.Compact != neverCompact {
		t.Errorf("state of nothing: %+v, %v", s, err)
	}
	if p, err := LoadMetadata(db); p != nil || err != nil {
		t.Errorf("metadata of nothing: %x, %v", p, err)
	}
	state := jumped(t, newState(), Jump{})
	change(t, db, func(_ *pebble.Batch, w *Writer) error {
		return errors.Join(
			w.Grant(7, 60), w.Grant(-1, 5), w.Grant(8, 1<<40), w.Revoke(8),
			w.Attach([]byte("b"), 0, 7), w.Attach([]byte("a\x00"), 0, 7),
			w.Attach([]byte("c"), 0, 7), w.Attach([]byte("c"), 7, -1), w.Attach([]byte("b"), 7, 7), w.State(state),
			w.Metadata(plain("meta")))
	})
	leases := map[int64]uint64{}
	err := EachLease(db, func(id int64, ttl uint64, _ bool) error { leases[id] = ttl; return nil })
	if err != nil || len(leases) != 2 || leases[7] != 60 || leases[-1] != 5 {
		t.Errorf("leases %v, %v", leases, err)
	}
	for id, want := range map[int64]string{7: `["a\x00" "b"]`, -1: `["c"]`, 8: "[]"} {
		if keys, err := AttachedKeys(db, id); err != nil || fmt.Sprintf("%q", keys) != want {
			t.Errorf("keys of lease %d: %q, %v", id, keys, err)
		}
	}
	if s, err := LoadState(db); err != nil || fmt.Sprint(s) != fmt.Sprint(state) {
		t.Errorf("state %+v, %v; want %+v", s, err, state)
	}
	if p, err := LoadMetadata(db); string(p) != "meta" || err != nil {
		t.Errorf("metadata %q, %v", p, err)
	}
}

// plain is its own encoding.
type plain string

func (p plain) AppendBinary(dst []byte) ([]byte, error) { return append(dst, p...), nil }
