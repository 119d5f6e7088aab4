//go:build unix

package trust

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A disk that hangs, here a pipe that nobody writes to, keeps nobody who comes: what was read before stays in use, and
// is told. When it goes on, so does the looking.
func TestFilesOnADiskThatHangsKeepNobody(t *testing.T) {
	a := newAuthority(t, "a", day)
	h := newHouse(t, a, a)
	p := person(t, a, a)
	cert, err := os.ReadFile(h.Cert)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(h.Cert)
	if err := syscall.Mkfifo(h.Cert, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	looked := make(chan bool)
	go func() { h.look(time.Now()); close(looked) }()
	var in *os.File // the other end, once somebody reads
	for until := time.Now().Add(time.Minute); in == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nobody looks at the files")
		}
		in, _ = os.OpenFile(h.Cert, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	}
	served := make(chan string, 1)
	go func() {
		_, _, saw, err := h.meet(t, p)
		if err != nil {
			saw = err.Error()
		}
		h.Report()
		metrics := make(chan prometheus.Metric, 1000)
		h.Collect(metrics)
		served <- saw
	}()
	select {
	case saw := <-served:
		if saw != "server" {
			t.Errorf("who came saw %q", saw)
		}
	case <-time.After(time.Minute):
		t.Error("who comes waits for the disk")
	}
	select {
	case <-looked:
		t.Error("the disk did not hang")
	default:
	}
	if _, err := in.Write(cert); err != nil {
		t.Fatal(err)
	}
	in.Close()
	<-looked
	if r := h.Report(); len(r.Refused) > 0 {
		t.Errorf("afterwards: %q", r.Refused)
	}
}
