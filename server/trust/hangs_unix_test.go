//go:build unix

package trust

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A disk that hangs, here a pipe that nobody writes to, keeps nobody who comes, and no other file from being looked at:
// what was read before stays in use, and is told. When it goes on, so does the looking.
func TestFilesOnADiskThatHangsKeepNobody(t *testing.T) {
	a := newAuthority(t, "a", day)
	h := newHouse(t, a, a)
	h.hang = 50 * time.Millisecond
	p := person(t, a, a)
	cert, err := os.ReadFile(h.Cert)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(h.Cert)
	if err := syscall.Mkfifo(h.Cert, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	h.look(time.Now())
	var in *os.File // the other end, once somebody reads
	for until := time.Now().Add(time.Minute); in == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nobody looks at the files")
		}
		in, _ = os.OpenFile(h.Cert, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	}
	_, _, saw, err := h.meet(t, p)
	if err != nil || saw != "server" {
		t.Errorf("who came saw %q, %v", saw, err)
	}
	refused := func() string { return strings.Join(h.Report().Refused, "\n") }
	if got := refused(); !strings.Contains(got, h.Cert+" is not read") {
		t.Errorf("it is told that %q", got)
	}
	metrics := make(chan prometheus.Metric, 1000)
	h.Collect(metrics)
	put(t, h.CA, []byte("no certificate"))
	h.look(time.Now())
	if got := refused(); !strings.Contains(got, "what replaces "+h.CA) || !strings.Contains(got, h.Cert) {
		t.Errorf("of another file it is told that %q", got)
	}
	put(t, h.CA, a.pem)
	os.Remove(h.Cert)
	put(t, h.Cert, cert)
	if _, err := in.Write(cert); err != nil {
		t.Fatal(err)
	}
	in.Close()
	for until := time.Now().Add(time.Minute); refused() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("afterwards: %q", refused())
		}
		h.look(time.Now())
	}
}
