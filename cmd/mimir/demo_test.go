//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The story comes to its end with real processes, tells what an operator would see, and leaves nothing behind.
func TestTheDemoIsPlayed(t *testing.T) {
	t.Setenv("RUN_AS_MIMIR", "1")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("MIMIR_ENDPOINTS", "127.0.0.1:1")
	t.Setenv("MIMIR_CACERT", "/none")
	out := &output{}
	arguments := strings.Fields("demo --nodes 1 --wan-delay 5ms --rate 100 --writes 40")
	if status := run(t.Context(), nil, arguments, out, out); status != exitDone {
		t.Fatalf("%d\n%s", status, out)
	}
	text := out.String()
	for _, want := range []string{
		"$ mimir switchover --to eu", "eu is primary, after us: epoch 2 begins", "nothing was lost; writes paused for",
		"eu: no node answers", "failover may lose writes and was not forced", "us is primary, after eu: epoch 3 begins",
		"and follows us after", "\n          0 acknowledged ones are nowhere\n",
		"\n          0 writes of the history it missed, 0 events it saw twice or out of order\n",
		"eu-1, us-1 hold the same at revision",
	} {
		if _, rest, found := strings.Cut(text, want); !found {
			t.Errorf("it does not tell %q, behind what it told before:\n%s", want, out)
		} else {
			text = rest
		}
	}
	nothingLeft(t)
}

// Who interrupts it is told so, and finds nothing of it either.
func TestTheDemoIsInterrupted(t *testing.T) {
	t.Setenv("RUN_AS_MIMIR", "1")
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{}
	done := make(chan int, 1)
	go func() { done <- run(ctx, nil, strings.Fields("demo --nodes 1 --writes 100000"), out, out) }()
	eventually(t, "clients write", func() bool { return strings.Contains(out.String(), "clients write") })
	cancel()
	if status := <-done; status != exitFailed || !strings.Contains(out.String(), "the story did not come to its end") {
		t.Errorf("%d\n%s", status, out)
	}
	nothingLeft(t)
}

// nothingLeft looks for files, and for processes that have any of them.
func nothingLeft(t *testing.T) {
	t.Helper()
	dir := os.Getenv("TMPDIR")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		if text, _ := os.ReadFile(name); strings.Contains(string(text), dir) {
			t.Errorf("%s runs: %q", name, text)
		}
	}
}
