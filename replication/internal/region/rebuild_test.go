package region

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
)

// byOrder is the way of a rebuild.
func byOrder(t *testing.T) way {
	t.Helper()
	i := slices.IndexFunc(ways, func(w way) bool { return strings.Contains(w.name, "by order") })
	return ways[i]
}

// A node that is rebuilt keeps what it had.
func TestARebuildKeepsWhatWasHere(t *testing.T) {
	for _, kind := range kinds {
		s, disk := newScript(t), vfs.NewCrashableMem()
		w := byOrder(t)
		p := running(t, s, disk, pebblefs.New(disk), w, kind.open)
		index := p.index
		if err := w.enter(p, s); err != nil {
			t.Fatal(err)
		}
		meta, err := copies.ReadMetadata(p.fs, "/aside/1")
		if err != nil || meta.AppliedIndex != index || p.index <= index {
			t.Errorf("%s: kept %+v, %v; now at entry %d, before at %d", kind.name, meta, err, p.index, index)
		}
	}
}

// Where no sibling gives its state nothing changes, and nothing is kept.
func TestARebuildThatCannotBe(t *testing.T) {
	for _, kind := range kinds {
		s, disk := newScript(t), vfs.NewCrashableMem()
		p := running(t, s, disk, pebblefs.New(disk), byOrder(t), kind.open)
		before := p.commands()
		for what, give := range map[string]func(uint64) (string, error){
			"no other node": newPlace(t, "us", p.fs, p.engine, p.engine).give,
			"no such copy":  func(uint64) (string, error) { return "none", nil },
		} {
			p.give = give
			err := p.Rebuild(t.Context(), "/aside/1")
			if err == nil || !strings.Contains(err.Error(), what) || !slices.Equal(p.commands(), before) {
				t.Errorf("%v, holds %q", err, p.commands())
			}
			if _, err := copies.ReadMetadata(p.fs, "/aside/1"); err == nil {
				t.Errorf("%s: what is here is kept, and nothing took its place", what)
			}
			p.check()
		}
	}
}
