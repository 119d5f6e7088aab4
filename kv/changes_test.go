package kv

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// TestChangesOfACheckpoint are all that a tail changed, as far as it was not compacted.
func TestChangesOfACheckpoint(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"), put("b", "shared"))
	n.apply(put("a", "2"), del("b", ""), put("c", "3"))
	if err := n.Checkpoint("saved"); err != nil {
		t.Fatal(err)
	}
	read := func(after int64) string {
		t.Helper()
		c, err := OpenChanges(n.fs, "saved", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "revision", c.Revision(), 6)
		var got []string
		err = c.Each(after, func(e *mvccpb.Event) error {
			got = append(got, fmt.Sprintf("%d %v %s=%s", e.Kv.ModRevision, e.Type, e.Kv.Key, e.Kv.Value))
			return nil
		})
		if err != nil || c.Close() != nil {
			t.Fatal(err)
		}
		return strings.Join(got, ", ")
	}
	expect(t, "after the fork", read(3), "4 PUT a=2, 5 DELETE b=, 6 PUT c=3")
	expect(t, "all", read(0), "2 PUT a=1, 3 PUT b=shared, 4 PUT a=2, 5 DELETE b=, 6 PUT c=3")
	if _, err := OpenChanges(n.fs, "elsewhere", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a checkpoint that is not there was opened")
	}
}

// TestACheckpointHasTheHashOfItsHistory: a store that went on otherwise has the same contents up to where they part.
func TestACheckpointHasTheHashOfItsHistory(t *testing.T) {
	n, other := newNode(t), newNode(t)
	n.apply(put("a", "1"), put("b", "shared"))
	other.apply(put("a", "1"), put("b", "shared"))
	n.apply(put("a", "2"), put("c", "lost"))
	if err := n.Checkpoint("saved"); err != nil {
		t.Fatal(err)
	}
	other.apply(put("a", "2"), put("c", "today"))
	c, err := OpenChanges(n.fs, "saved", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for rev, same := range map[int64]bool{2: true, 3: true, 4: true, 5: false} {
		here, err := c.HashContent(t.Context(), rev)
		there, _, _, failed := other.HashContent(t.Context(), rev)
		if err != nil || failed != nil || (here == there) != same {
			t.Errorf("at %d: %x and %x, %v, %v", rev, here, there, err, failed)
		}
	}
	if _, err := c.HashContent(t.Context(), 6); !errors.Is(err, command.ErrFutureRevision) {
		t.Errorf("behind its end: %v", err)
	}
}

func TestForkBefore(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"), put("a", "2"))
	n.begin(true)
	expect(t, "in the gap", n.ForkBefore(9), 3)
	expect(t, "before it", n.ForkBefore(3), 0)
	expect(t, "behind it", n.ForkBefore(n.Revision()+1), 0)
}

// TestParting: each reign that may have lost a tail is found by the revisions that it left out.
func TestParting(t *testing.T) {
	n := newNode(t)
	reigns := []replication.Reign{{Epoch: 1, First: 1}}
	begin := func(epoch replication.Epoch, lossy bool) {
		r := replication.Reign{Epoch: epoch, Lossy: lossy, Nonce: [16]byte{byte(epoch)}}
		if lossy {
			r.Place = 2
		}
		n.metadata.Epoch, n.metadata.AppliedIndex = epoch, n.metadata.AppliedIndex+1
		if err := n.Begin(r, &n.metadata); err != nil {
			t.Fatal(err)
		}
		reigns = append(reigns, r)
	}
	n.apply(put("a", "1"), put("a", "2"))
	begin(2, true)
	second := n.Revision()
	begin(3, false)
	n.apply(put("a", "3"))
	begin(4, true)
	expect(t, "the first", PartingAt(n.Store, reigns, 1), Parting{Revision: 3, Base: second, Readable: 1})
	expect(t, "the last", PartingAt(n.Store, reigns, 3),
		Parting{Revision: second + 1, Base: n.Revision(), Readable: second})
	other := append([]replication.Reign(nil), reigns...)
	other[3].Nonce[0]++
	expect(t, "another", PartingAt(n.Store, other, 3), Parting{})
	n.apply(command.EncodeCompaction(&pb.CompactionRequest{Revision: second + 1}))
	expect(t, "compacted", PartingAt(n.Store, reigns, 1), Parting{Base: second, Readable: second + 1})
}
