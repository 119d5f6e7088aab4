package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// program is where the mimir of this tree is, once it is built: once for all tests.
var (
	program string
	build   = sync.OnceValue(func() error { return Build(context.Background(), program) })
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mimir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "mimir")
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// built returns the mimir of this tree.
func built(t *testing.T) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return program
}
