package region

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// byOrder is one more way to another state. It waits for no room: what cannot be kept is told, and nothing changed.
var byOrder = way{
	name:    "the state of a sibling, by order",
	prepare: func(t *testing.T, s *script, fs durable.FS) { s.ownCopy(t, fs, "/staging/own") },
	equip: func(p *place) {
		p.staged["own"] = "/staging/own"
		p.give = func(uint64) (string, error) { return "own", nil }
	},
	enter: func(p *place, _ *script) error { return p.Rebuild(p.t.Context(), "/aside/1") },
	want:  later, base: timeline.Base{Index: 6, Position: 5},
}

// A node that is rebuilt keeps what it had.
func TestARebuildKeepsWhatWasHere(t *testing.T) {
	for _, kind := range kinds {
		s, disk := newScript(t), vfs.NewCrashableMem()
		w := byOrder
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
		p := running(t, s, disk, pebblefs.New(disk), byOrder, kind.open)
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
