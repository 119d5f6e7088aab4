package transfer

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// staging starts two nodes of us, the first of which has a copy of eu, and returns what has the second stage it.
func staging(t *testing.T, net *memory.Network) (a, b *node, id string, stage func() error) {
	t.Helper()
	a, b = start(t, net, "us-1"), start(t, net, "us-2")
	a.others, b.others = []string{"us-2"}, []string{"us-1"}
	eu := start(t, net, "eu-1")
	eu.begin("eu")
	eu.put("value")
	id, _, err := a.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, id, func() error {
		_, err := peer.Ask(t.Context(), a.client, "us-2", AskStage, StageRequest{ID: id, From: "us-1", Term: 1})
		return err
	}
}

// spoils changes a staged copy, and has the node know of it what it knows of what an earlier process staged.
func (n *node) spoils(id string) {
	n.t.Helper()
	flip(n.t, n.disk, "/staging/"+id+"/contents/stream")
	n.staging.isSound(id, false)
}

// TestACopyThatADiskSpoiledIsNotOfferedForEver (T8): that somebody else got something else is looked into, and the copy
// goes.
func TestACopyThatADiskSpoiledIsNotOfferedForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, id, stage := staging(t, net)
		flip(t, a.disk, "/staging/"+id+"/contents/stream") // although it came to this very process
		if err := stage(); err == nil {
			t.Fatal("it was staged")
		}
		virtual.Wait()
		if _, err := a.staging.Dir(id); err == nil {
			t.Error("it is here still")
		}
		if slices.Contains(b.staged(), id) {
			t.Errorf("staged %v", b.staged())
		}
	})
}

// A copy that its disk gives back no more is not offered for ever either.
func TestACopyThatCannotBeReadIsNotOfferedForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, _, id, stage := staging(t, net)
		a.staging.config.FS = pebblefs.New(errorfs.Wrap(a.disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, id+"/contents/stream") {
				return syscall.EIO
			}
			return nil
		})))
		for range mostUnread {
			if err := stage(); err == nil {
				t.Fatal("it was staged")
			}
		}
		virtual.Wait()
		if _, err := a.staging.Dir(id); err == nil {
			t.Error("it is here still")
		}
	})
}

// A copy that arrived as it is here stays, also where whoever got it says that it did not.
func TestACopyThatIsWhatCameStays(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, id, stage := staging(t, net)
		b.staging.config.Look = checkpoint.Look{Whole: func(string) error { return checkpoint.ErrCorrupt }}
		if err := stage(); err == nil {
			t.Fatal("it was staged")
		}
		virtual.Wait()
		a.holds(id, []string{"value"})
		b.staging.config.Look = checkpoint.Look{}
		if err := stage(); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatAnEarlierProcessStagedIsReadBeforeItCounts (T8): that it is there, and as long as it was, does not do.
func TestWhatAnEarlierProcessStagedIsReadBeforeItCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b, id, stage := staging(t, net)
		if err := stage(); err != nil {
			t.Fatal(err)
		}
		b.spoils(id)
		if err := stage(); err != nil {
			t.Fatal(err)
		}
		b.holds(id, []string{"value"})
		a.spoils(id)
		if err := a.staging.Sound(t.Context(), id, nil); !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Errorf("spoiled: %v", err)
		}
		if err := a.staging.Sound(t.Context(), id, nil); !errors.Is(err, checkpoint.ErrIncomplete) {
			t.Errorf("once found: %v", err)
		}
		b.staging.isSound(id, false)
		told := checkpoint.Progress{}
		if err := b.staging.Sound(t.Context(), id, func(p checkpoint.Progress) { told = p }); err != nil {
			t.Errorf("what came: %v", err)
		}
		if told.DoneBytes == 0 || told.DoneBytes != told.TotalBytes || told.Stage != checkpoint.Checking {
			t.Errorf("told %+v", told)
		}
	})
}

// unsettled is a disk on which a directory that has a staged copy in it cannot be synced, while it fails.
type unsettled struct {
	durable.FS
	fails atomic.Bool
}

func (u *unsettled) SyncDir(dir string) error {
	if names, err := u.List(dir); err == nil && u.fails.Load() && slices.ContainsFunc(names, isID) {
		return syscall.EIO
	}
	return u.FS.SyncDir(dir)
}

// TestACopyCountsOnceItsNameIsDurable (T2): it is there, and was received, and a power cut may take it.
func TestACopyCountsOnceItsNameIsDurable(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		_, b, id, stage := staging(t, net)
		disk := &unsettled{FS: b.staging.config.FS}
		disk.fails.Store(true)
		b.staging.config.FS = disk
		for range 2 {
			if err := stage(); err == nil {
				t.Error("it counts as staged")
			}
		}
		if staged := b.staged(); slices.Contains(staged, id) || b.staging.Partial() != id {
			t.Fatalf("staged %v, and %q has no name yet", staged, b.staging.Partial())
		}
		disk.fails.Store(false)
		if err := stage(); err != nil {
			t.Fatal(err)
		}
		b.holds(id, []string{"value"})
		b.staging.isSound(id, false) // as to a process that finds it there
		disk.fails.Store(true)
		if err := b.staging.Sound(t.Context(), id, nil); !errors.Is(err, syscall.EIO) {
			t.Errorf("it counts as what came: %v", err)
		}
		disk.fails.Store(false)
		if err := b.staging.Sound(t.Context(), id, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestACopyWhoseNameIsNotDurableIsTakenUpAgain: whoever waits for a state of his region gets that one, and no other
// lies beside it for good.
func TestACopyWhoseNameIsNotDurableIsTakenUpAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b := start(t, net, "us-1"), start(t, net, "us-2")
		b.others = []string{"us-1"}
		a.begin("us")
		b.begin("us")
		disk := &unsettled{FS: b.staging.config.FS}
		disk.fails.Store(true)
		b.staging.config.FS = disk
		got := make(chan string, 1)
		go func() {
			id, err := b.staging.FetchOwn(0)
			if err != nil {
				t.Error(err)
			}
			got <- id
		}()
		time.Sleep(5 * ownRetry / 2)
		virtual.Wait()
		first := b.staging.Partial()
		disk.fails.Store(false)
		if id := <-got; id != first || !slices.Equal(b.staged(), []string{id}) {
			t.Errorf("got %q after %q, and %v lie here", id, first, b.staged())
		}
	})
}
