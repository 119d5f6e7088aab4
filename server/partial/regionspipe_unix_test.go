//go:build unix

package partial

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file of partial regions on a disk that hangs, here a pipe that nobody writes to, holds nobody up, and is told.
func TestPartialRegionsOnADiskThatHangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "partial")
	if err := os.WriteFile(file, []byte("edge "+secret+" /a/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRegions(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	r.turn.Looked(time.Time{})
	known := make(chan int, 3)
	go func() {
		for range cap(known) {
			known <- len(r.Known())
		}
	}()
	for range cap(known) {
		select {
		case n := <-known:
			if n != 1 {
				t.Errorf("%d partial regions", n)
			}
		case <-time.After(time.Minute):
			t.Fatal("who asks for a partial region waits for the disk")
		}
	}
	if problem := r.Problem(); !strings.Contains(problem, "its disk may hang") {
		t.Errorf("the problem is %q", problem)
	}
	out, err := os.OpenFile(file, os.O_WRONLY, 0) // whoever reads goes on
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
}
