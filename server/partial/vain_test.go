package partial

import (
	"context"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// What is compacted before it is there is copied anew, and shown all along.
func TestWhatIsCompactedIsCopiedAnew(t *testing.T) {
	w, dir := startWhole(t, "us-1"), t.TempDir()
	w.write(put("/a/x", "1"))
	e := startEdge(t, dir, w.addr)
	e.holds(w)
	e.stop()
	w.write(put("/a/x", "2"), put("/a/y", "1"), remove("/a/y"), put("/b/x", "outside"))
	w.write(command.EncodeCompaction(&pb.CompactionRequest{Revision: w.Node.Store.Revision()}))
	e = startEdge(t, dir, w.addr)
	if !e.Standing().Shows {
		t.Error("it does not show what it holds")
	}
	e.holds(w)
	until(t, "it took a copy", func() bool { return e.Standing().Copies == 1 })
}

// Where a copy takes longer than the fleet keeps its history, copies do not come one after the other for ever, and it
// is said why, also where something is shown.
func TestCopiesThatComeToNothingAreSaid(t *testing.T) {
	for _, shown := range []bool{false, true} {
		w, dir := startWhole(t, "us-1"), t.TempDir()
		w.write(put("/a/x", "1"))
		if shown {
			e := startEdge(t, dir, w.addr)
			e.holds(w)
			e.stop()
			w.write(put("/a/x", "1"))
			w.write(command.EncodeCompaction(&pb.CompactionRequest{Revision: w.Node.Store.Revision()}))
		}
		passes := func() { // whenever it is looked whether it may be given: also behind the last of a copy
			for _, data := range [][]byte{put("/a/x", "2"),
				command.EncodeCompaction(&pb.CompactionRequest{Revision: w.Node.Store.Revision() + 1})} {
				_, _ = w.Replicator.Propose(context.Background(), []*replication.Command{{Data: data}})
			}
		}
		w.looked.Store(&passes)
		e := startEdge(t, dir, w.addr)
		until(t, "it says why", func() bool {
			return strings.Contains(e.Standing().Problem, "auto-compaction-retention")
		})
		if s := e.Standing(); s.Shows != shown || s.Copies > 2 {
			t.Errorf("%+v", s)
		}
	}
	if vainRest(1) != 0 || vainRest(2) != time.Minute || vainRest(100) != 5*time.Minute {
		t.Error("the rest does not grow")
	}
}
