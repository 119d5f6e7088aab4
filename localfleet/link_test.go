//go:build unix

package localfleet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// linkTo returns a link to a target that is closed with the test.
func linkTo(t *testing.T, target string, delay time.Duration) *link {
	t.Helper()
	k := newLink(freeAddrs(t, 1)[0], target, delay)
	t.Cleanup(k.close)
	return k
}

func freeAddrs(t *testing.T, count int) []string {
	t.Helper()
	ports := AnyPorts()
	t.Cleanup(ports.Close)
	addrs, err := ports.Next(count)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// joined returns both ends of a connection through a link.
func joined(t *testing.T, delay time.Duration) (k *link, near, far net.Conn) {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	k = linkTo(t, target.Addr().String(), delay)
	if near, err = net.Dial("tcp", k.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	for range 2 { // the first one was the link's look
		if far, err = target.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
	}
	for _, c := range []net.Conn{near, far} {
		c.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return k, near, far
}

func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	data := make([]byte, n)
	if _, err := io.ReadFull(c, data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLinkDelaysBothDirections(t *testing.T) {
	const delay = 30 * time.Millisecond
	_, near, far := joined(t, delay)
	began := time.Now()
	io.WriteString(near, "there")
	if got := read(t, far, 5); got != "there" {
		t.Error(got)
	}
	io.WriteString(far, "back")
	if got := read(t, near, 4); got != "back" {
		t.Error(got)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back in %s", took)
	}
}

func TestCutLinkIsSilentUntilHealed(t *testing.T) {
	k, near, far := joined(t, 0)
	io.WriteString(near, "1")
	read(t, far, 1)
	k.cut()
	io.WriteString(near, "2")
	near.(*net.TCPConn).CloseWrite()
	far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := far.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes through a cut link, %v", n, err)
	}
	k.heal()
	far.SetReadDeadline(time.Now().Add(30 * time.Second))
	if got := read(t, far, 1); got != "2" {
		t.Error(got)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end did not arrive: %v", err)
	}
}

func TestLostBytesNeverArrive(t *testing.T) {
	k, near, far := joined(t, 0)
	k.cut()
	io.WriteString(near, "lost")
	if _, err := near.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	k.lose()
	k.heal()
	if n, err := io.Copy(io.Discard, far); n != 0 {
		t.Errorf("%d bytes arrived, %v", n, err)
	}
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func TestLinkRefusesWhileItsTargetDoes(t *testing.T) {
	addr := freeAddrs(t, 1)[0]
	k := linkTo(t, addr, 0)
	connects := func() bool {
		c, err := net.Dial("tcp", k.addr)
		if err == nil {
			c.Close()
		} else if !isRefused(err) && !errors.Is(err, syscall.ECONNRESET) { // the moment in which it ceases to listen
			t.Error(err)
		}
		return err == nil
	}
	refuses := func() bool { return !connects() }
	if connects() {
		t.Fatal("the link listens for a target that never did")
	}
	target, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link listens with its target", connects)
	target.Close()
	k.suspect()
	eventually(t, "the link refuses with its target", refuses)
	k.cut()
	eventually(t, "a cut link is silent", connects)
	k.heal()
	eventually(t, "the link refuses again", refuses)
}
