package region

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestANodeThatMissedTwoForksSavesFromTheLeast: the region gave up what is behind 1, by entry 5, and later what is
// behind 3. Reigns and positions tell a node that was away at 2 of neither.
func TestANodeThatMissedTwoForksSavesFromTheLeast(t *testing.T) {
	s, disk, w := newScript(t), vfs.NewCrashableMem(), ways[0]
	w.prepare(t, s, pebblefs.New(disk))
	for index, want := range map[uint64]int{5: 1, 2: 0} { // the other one came back by the first already
		e := enginetest.Volatile()
		p := newPlace(t, "us", pebblefs.New(disk), e, e).load()
		p.apply(s.old[:2]...)
		meta, err := p.config.Maker.Metadata("/received")
		if err != nil {
			t.Fatal(err)
		}
		state, err := p.config.decode(meta)
		if err != nil {
			t.Fatal(err)
		}
		state.Earlier = []timeline.GivenUp{{Index: index, Fork: 1}}
		state.GivenUp = &timeline.GivenUp{Index: 9, Fork: 3}
		if meta.Record, err = state.EncodeRecord(); err != nil {
			t.Fatal(err)
		}
		if err := p.saveBeforeState(t.Context(), meta); err != nil {
			t.Fatal(err)
		}
		if len(p.saved) != want || want > 0 && p.saved[0].Fork != 1 {
			t.Errorf("given up by entry %d: saved %+v", index, p.saved)
		}
	}
}
