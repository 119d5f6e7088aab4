package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testWriter prints the report as the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// The whole acceptance run, in small.
func TestFirstLight(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for about half a minute")
	}
	text, err := os.Open(filepath.Join("testdata", "packages.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	records, err := ReadRecords(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary := built(t)
	ctx := t.Context()
	if end, ok := t.Deadline(); ok { // what hangs is told with the logs of the nodes
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Minute))
		defer cancel()
	}
	// All phases but bootstrap, which writes gigabytes.
	err = Run(ctx, Options{
		Binary: binary, Dir: dir, Records: records, Delay: 5 * time.Millisecond, Cut: time.Second,
		Writes: 100, Pause: 100 * time.Millisecond, Out: testWriter{t},
		Phases: []string{"load", "switchover", "interrupted", "paused", "failover", "restart", "badinput"},
	})
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*", "log"))
		for _, name := range logs {
			text, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", name, text)
		}
		t.Fatal(err)
	}
}
