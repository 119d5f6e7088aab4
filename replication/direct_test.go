package replication

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
)

// What a process began to keep and did not finish is gone with the next one; the rest stays.
func TestWhatIsHalfKeptIsRemoved(t *testing.T) {
	fs := pebblefs.New(vfs.NewMem())
	if err := dropHalfAside(fs, "aside"); err != nil {
		t.Errorf("without any: %v", err)
	}
	whole, half, other := "20261127T060210.114Z", "20261127T060310.114Z", "notes"
	for _, name := range []string{whole, half, other} {
		if err := durable.MakeDir(fs, "aside/"+name+"/contents"); err != nil {
			t.Fatal(err)
		}
	}
	if err := copies.Complete(fs, "aside/"+whole, &contract.Metadata{}); err != nil {
		t.Fatal(err)
	}
	if err := dropHalfAside(fs, "aside"); err != nil {
		t.Fatal(err)
	}
	left, err := fs.List("aside")
	if slices.Sort(left); err != nil || !slices.Equal(left, []string{whole, other}) {
		t.Errorf("left %q, %v", left, err)
	}
}
