package kv

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv/watch"
)

// Who asks for sizes, as each request for a status does, waits for no commit that is being published, so that none
// waits for him either; and is told what the picture of the store says.
func TestSizesHoldUpNoCommit(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"))
	told := make(chan [2]int64, 1)
	n.watchers.Publish(n.now().State, watch.Written{}, func() {
		go func() {
			total, inUse := n.SizeBytes()
			told <- [2]int64{total, inUse}
		}()
		select {
		case sizes := <-told:
			told <- sizes
		case <-time.After(time.Minute):
			t.Error("a status waits for a commit")
		}
	})
	sizes, m := <-told, n.Metrics()
	unflushed := int64(m.MemTableBytes)
	if want := [2]int64{m.TotalBytes + unflushed, m.InUseBytes + unflushed}; sizes != want || sizes[1] == 0 {
		t.Errorf("sizes %v, want %v", sizes, want)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if total, inUse := n.SizeBytes(); total != 0 || inUse != 0 {
		t.Errorf("of a closed store: %d, %d", total, inUse)
	}
}
