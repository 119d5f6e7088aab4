package kv

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

func loaderOn(t *testing.T, fs vfs.FS) (*Store, *Loader) {
	t.Helper()
	s, err := Open(Options{FS: fs, Dir: "kv"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// TestWhatIsHalfLoadedIsNoEmptyStore: where a load was cut short, by a power cut or an error, nobody begins anew on
// what is left, or takes it for whole.
func TestWhatIsHalfLoadedIsNoEmptyStore(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s, l := loaderOn(t, disk)
	if err := l.Version([]byte("k"), &mvcc.Version{Stamp: mvcc.Stamp{Main: 2}, Create: 2, Number: 1}); err != nil {
		t.Fatal(err)
	}
	for what, fs := range map[string]vfs.FS{"power cut": disk.CrashClone(vfs.CrashCloneCfg{}), "error": disk} {
		if what == "error" {
			if err := errors.Join(l.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Open(Options{FS: fs, Dir: "kv"})
		if err != nil {
			t.Fatal(err)
		}
		if meta, err := again.Load(); meta == nil || err != nil || len(meta.Record) > 0 {
			t.Errorf("%s: metadata %+v, %v", what, meta, err)
		}
		if _, err := NewLoader(again); err == nil {
			t.Errorf("%s: loaded once more", what)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What contradicts itself is refused where it does, or at the end.
func TestContentsThatContradictThemselvesAreRefused(t *testing.T) {
	s, l := loaderOn(t, vfs.NewMem())
	put := func(main int64, sub uint32, create, number int64) error {
		return l.Version([]byte("k"), &mvcc.Version{Stamp: mvcc.Stamp{Main: main, Sub: sub}, Create: create,
			Number: number})
	}
	if err := errors.Join(l.Lease(1, 10), put(5, 1, 5, 1)); err != nil {
		t.Fatal(err)
	}
	meta := &replication.Metadata{AppliedIndex: 2}
	for what, err := range map[string]error{
		"a change twice": put(5, 1, 5, 1), "one of before": put(4, 0, 4, 1), "created later": put(6, 0, 7, 1),
		"never created": put(6, 0, 0, 1), "no version": put(6, 0, 6, 0),
		"a lease twice": l.Lease(1, 10), "a lease without a number": l.Lease(0, 10), "or without time": l.Lease(2, 0),
		"or with too much": l.Lease(2, 9_000_000_001), "a change behind the revision": l.Finish(4, -1, meta),
		"compacted behind it": l.Finish(5, 6, meta),
	} {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(l.Finish(7, 5, meta), l.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

// A key that a revision deletes and puts again began to exist by it: the index of keys knows.
func TestAKeyMayEndAndBeginAnewInOneRevision(t *testing.T) {
	fs := vfs.NewMem()
	s, l := loaderOn(t, fs)
	for _, v := range []mvcc.Version{
		{Stamp: mvcc.Stamp{Main: 2}, Create: 2, Number: 1},
		{Stamp: mvcc.Stamp{Main: 5}, Kind: mvcc.KindDelete},
		{Stamp: mvcc.Stamp{Main: 5, Sub: 1}, Create: 5, Number: 1},
	} {
		if err := l.Version([]byte("k"), &v); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.Finish(5, -1, &replication.Metadata{AppliedIndex: 2}), l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{FS: fs, Dir: "kv"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	settle(t, s)
	for rev, want := range map[int64]int{2: 0, 4: 0, 5: 1} {
		q := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Revision: rev, MinCreateRevision: 3, Limit: 1}
		resp, err := s.Range(t.Context(), q)
		if err != nil || len(resp.Kvs) != want || resp.Count != 1 {
			t.Errorf("at %d: %v, %v", rev, resp, err)
		}
	}
}
