package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A list says which backups are of what was given up: the history with the latest epoch does not have them.
func TestAListSaysWhatWasGivenUp(t *testing.T) {
	dir, fs := t.TempDir(), vfs.NewMem()
	if err := fs.MkdirAll("nothing", 0o755); err != nil {
		t.Fatal(err)
	}
	reigns := []timeline.Reign{
		{Epoch: 1, First: 1, Primary: "us"}, {Epoch: 2, First: 501, Primary: "eu", Lossy: true},
	}
	for i, c := range []struct {
		epochs   int
		position timeline.Position
	}{{1, 400}, {1, 600}, {1, 700}, {2, 800}} {
		at := timeline.Cursor{Epoch: timeline.Epoch(c.epochs), Position: c.position, Chain: timeline.Chain{byte(i)}}
		place := schedule.PlaceOf(timeline.Origin{Cursor: at, Reigns: reigns[:c.epochs]})
		var text bytes.Buffer
		note := snapshot.Note{Fleet: "f", Place: place.Encode()}.Encode()
		if err := snapshot.Write(&text, fs, "nothing", note); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2026, 11, 26, i, 0, 0, 0, time.UTC)
		file := filepath.Join(dir, filepath.FromSlash(schedule.Name("f", "us", "us-1", place.History, when)))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	torn := filepath.Join(dir, filepath.FromSlash(schedule.Name("f", "us", "us-1", "",
		time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC))))
	if err := os.WriteFile(torn, bytes.Repeat([]byte("torn"), 136), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, said := mimir(t, "snapshot", "list", "file://"+filepath.ToSlash(dir), "--fleet", "f")
	lines := strings.Split(out, "\n")
	if len(lines) < 7 || !strings.HasPrefix(said, "mimir: of 1 of 5 backups it is not known") ||
		!strings.Contains(lines[6], "2 of them are of what was given up") {
		t.Fatalf("%s%s", out, said)
	}
	for i, what := range []string{"", "given up", "given up", "", "not known"} {
		if strings.HasSuffix(lines[i], "given up") != (what == "given up") || !strings.HasSuffix(lines[i], what) {
			t.Errorf("%s, want %q", lines[i], what)
		}
	}
	_, out, _ = mimir(t, "snapshot", "list", "file://"+filepath.ToSlash(dir), "--fleet", "f", "-o", "json")
	if _, names, _ := strings.Cut(out, `"givenUp"`); strings.Count(names, "@us-1@") != 2 ||
		!strings.Contains(names, `"notKnown"`) {
		t.Error(out)
	}
}
