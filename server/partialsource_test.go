package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// A node does not begin in the directory of a node of a partial region.
func TestANodeLeavesPartialDirectoriesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := notAPlace(dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "partial.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Replication.DataDir = dir
	if err := (&server{config: &c}).openStore(); !errors.Is(err, replication.ErrIdentity) {
		t.Errorf("it begins there: %v", err)
	}
}
