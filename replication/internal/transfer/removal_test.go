package transfer

import (
	"math"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// stuck is a disk on which nothing can be removed, as long as it fails.
type stuck struct {
	durable.FS
	fails atomic.Bool
}

func (s *stuck) RemoveAll(name string) error {
	if s.fails.Load() {
		return syscall.EMFILE
	}
	return s.FS.RemoveAll(name)
}

// TestACopyThatCannotBeRemovedGoesLater: nobody gets it any more, and its files keep room for as long as it lies there.
func TestACopyThatCannotBeRemovedGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		disk := &stuck{FS: us.shelf.config.FS}
		us.shelf.config.FS = disk
		count := func() int {
			us.shelf.Tidy()
			names, _ := us.disk.List("/copies")
			return len(names)
		}
		one, err := us.take(&Request{Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		us.shelf.release(one)
		time.Sleep(2 * lifetime)
		disk.fails.Store(true)
		for range 2 {
			if count() != 1 {
				t.Fatal("removed although nothing can be")
			}
		}
		if again, err := us.take(&Request{Region: "eu", Have: one.id}); err != nil || again == one {
			t.Errorf("given although it is to be removed: %v", err)
		}
		disk.fails.Store(false)
		if count() != 1 {
			t.Errorf("%d copies lie here, and one is taken", count())
		}
	})
}

// TestAStagedCopyThatCannotBeRemovedGoesLater, also that of another node of the region, which nobody else lets go of.
func TestAStagedCopyThatCannotBeRemovedGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b := start(t, net, "us-1"), start(t, net, "us-2")
		a.begin("us")
		b.begin("us")
		id, _, err := b.staging.Fetch(t.Context(), "us-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.staging.Keep(id, math.MaxUint64)
		disk := &stuck{FS: b.staging.config.FS}
		b.staging.config.FS = disk
		disk.fails.Store(true)
		b.staging.Discard(id)
		tidy := func() {
			for range 2 * lingers {
				b.staging.Tidy(1, false)
			}
		}
		if tidy(); !slices.Contains(b.staged(), id) {
			t.Fatal("removed although nothing can be")
		}
		disk.fails.Store(false)
		if tidy(); slices.Contains(b.staged(), id) {
			t.Error("it lies here for good")
		}
	})
}

// gone is a disk on which what is removed is gone, and the directory that it was in cannot be synced.
type gone struct{ durable.FS }

func (gone) SyncDir(string) error { return syscall.EIO }

// TestNothingIsKnownOfACopyThatIsGone: that its removal may not be durable keeps nothing here.
func TestNothingIsKnownOfACopyThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b := start(t, net, "us-1"), start(t, net, "us-2")
		b.others = []string{"us-1"}
		a.begin("us")
		b.begin("us")
		id, err := b.staging.FetchOwn(0)
		if err != nil {
			t.Fatal(err)
		}
		s := b.staging
		s.spoiled["us-3"], s.unread[id], s.useless[id] = true, 1, 1
		s.config.FS = gone{s.config.FS}
		s.Discard(id)
		if n := len(s.spoiled) + len(s.unread) + len(s.useless) + len(s.givers) + len(s.sound); n != 0 {
			t.Errorf("%d things are known of it", n)
		}
		if s.Tidy(1, false); len(s.terms) != 0 {
			t.Errorf("known of leaders: %v", s.terms)
		}
	})
}

// TestWhatAnEarlierProcessLeftGoesLater: that it cannot be removed hinders no start.
func TestWhatAnEarlierProcessLeftGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		disk := &stuck{FS: us.shelf.config.FS}
		us.shelf.config.FS = disk
		us.shelf.Clean() // there is none
		if err := durable.MakeDir(disk, "/copies/one"); err != nil {
			t.Fatal(err)
		}
		disk.fails.Store(true)
		us.shelf.Clean()
		disk.fails.Store(false)
		us.shelf.Tidy()
		if names, err := disk.List("/copies"); err != nil || len(names) != 0 {
			t.Errorf("there is still %q, %v", names, err)
		}
	})
}
