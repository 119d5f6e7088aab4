package server

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication"
)

// What is archived before the oldest backup that is kept goes, and nothing does where a backup does not say where it
// is.
func TestTheArchiveIsPrunedByBackups(t *testing.T) {
	c, dir := testConfig(t, "us-1"), t.TempDir()
	place := "file://" + filepath.ToSlash(dir)
	c.Archive.To, c.Archive.Every = place, time.Second
	node, client := runRereading(t, c), etcdClient(t, c, TLS{})
	files := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(dir, "fleet@*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	put := func(ctx context.Context, key string) { client.Put(ctx, key, "") } //nolint:errcheck // as often as it takes
	eventually(t, "some of the log is archived", func(ctx context.Context) bool {
		put(ctx, "a")
		return len(files("log/*.seg")) > 2
	})
	next := *c
	next.Backup.To = place
	node.read(next)
	eventually(t, "there is a backup", func(context.Context) bool { return len(files("snapshot@*.mimir")) == 1 })
	before := len(files("log/*.seg"))
	eventually(t, "more of it is archived", func(ctx context.Context) bool {
		put(ctx, "b")
		return len(files("log/*.seg")) > before+1
	})

	s, err := store.Open(place, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := schedule.Taken(t.Context(), s, c.Replication.FleetID)
	if err != nil || len(kept) != 1 || kept[0].History == "" {
		t.Fatalf("%+v, %v", kept, err)
	}
	var told []string
	b := &bases{
		place: s, log: archive.Of(s, c.Replication.FleetID), known: map[string]replication.Position{},
		tell: func(_ int, _ replication.Position, missing string) { told = append(told, missing) },
	}
	silent := schedule.Backup{Name: schedule.Name(c.Replication.FleetID, "us", "old", "", time.Now())}
	r, err := clientv3.NewMaintenance(client).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), silent.Name, r); err != nil {
		t.Fatal(err)
	}
	all := len(files("log/*.seg"))
	if err := b.prune(t.Context(), append(slices.Clone(kept), silent)); err != nil || len(files("log/*.seg")) < all {
		t.Errorf("beside a backup that does not say where it is: %v", err)
	}
	if err := b.prune(t.Context(), kept); err != nil || !slices.Equal(told, []string{silent.Name, ""}) {
		t.Errorf("told of %q, %v", told, err)
	}
	if left := len(files("log/*.seg")); left >= all || left < 2 {
		t.Errorf("%d of %d segments are left", left, all)
	}
	whole, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(kept[0].Name)))
	if err != nil || !bytes.Contains(whole[:1024], []byte(`"position":`)) {
		t.Errorf("a backup does not say where it is: %v", err)
	}
}
