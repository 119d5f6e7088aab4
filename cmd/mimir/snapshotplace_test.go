package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimir-kv/mimir/backup/whole"
)

// A file that lies in between need not outlast a loss of power: what it holds is in its place a moment later.
func TestWhatLiesInBetweenNeedNotBeDurable(t *testing.T) {
	dir := t.TempDir()
	p := places{work: t.TempDir()}
	err := p.put(t.Context(), "file://"+filepath.ToSlash(dir)+"/name", func(file string) error {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", whole.ErrNotDurable, file)
	})
	if held, read := os.ReadFile(filepath.Join(dir, "name")); err != nil || read != nil || string(held) != "x" {
		t.Errorf("%v, %q, %v", err, held, read)
	}
}
