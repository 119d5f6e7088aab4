//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A node that systemd started tells it when it serves, once; where nobody listens it serves all the same.
func TestSystemdIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "m") // of a short name: the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	node := aNodeAlone(t, "told")
	node.start(t)
	if code := node.stop(); code != exitDone {
		t.Fatalf("ended with %d", code)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "none"))
	node.start(t)
	if code := node.stop(); code != exitDone {
		t.Fatalf("ended with %d", code)
	}
	said := make([]byte, 100)
	socket.SetReadDeadline(time.Now().Add(time.Minute)) // it is there already
	n, err := socket.Read(said)
	if err != nil || string(said[:n]) != "READY=1" {
		t.Errorf("systemd was told %q, %v", said[:n], err)
	}
	socket.SetReadDeadline(time.Now())
	if n, err := socket.Read(said); err == nil {
		t.Errorf("systemd was told twice, the second time %q", said[:n])
	}
}

// A node does not wait for a systemd that takes nothing.
func TestSystemdThatTakesNothingIsNotWaitedFor(t *testing.T) {
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	ended := make(chan error, 1)
	go func() {
		for range 1 << 20 { // until its queue is full
			if err := tellSystemdWithin(name, 10*time.Millisecond); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all is taken of what nobody reads")
		}
	case <-time.After(time.Minute):
		t.Error("it is waited for")
	}
}
