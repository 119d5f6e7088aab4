package grpctransport

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

// guest connects, and says nothing that is more than a preface.
func guest(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 9)); err != nil { // settings: the server waits for his
		t.Fatal(err)
	}
}

// Who connects and does not shake hands keeps no node and no port from its end.
func TestAStrangerKeepsNobodyFromItsEnd(t *testing.T) {
	for name, serve := range map[string]func(o Options) (end func(), err error){
		"node": func(o Options) (func(), error) {
			n, err := New(o)
			if err == nil {
				err = n.Serve(map[string]transport.Handler{})
			}
			return func() { n.Close() }, err
		},
		"port": func(o Options) (func(), error) {
			o.FleetID = ""
			p, err := NewPort(PortOptions{Options: o, Fleets: map[string]Fleet{"fleet": {}}})
			if err == nil {
				p.Serve()
			}
			return func() { p.Close() }, err
		},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		end, err := serve(Options{Listener: l, FleetID: "fleet", NodeName: "node", Region: "us", handshake: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		guest(t, l.Addr().String())
		over := make(chan struct{})
		go func() {
			end()
			close(over)
		}()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatal(name, ": a guest keeps it from its end")
		}
	}
}

// Once hands are shaken nobody is dismissed, and whoever comes later is.
func TestOnlyNewcomersAreDismissed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := Greet(l)
	accept := func() (here, there net.Conn) {
		there, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { there.Close() })
		if here, err = n.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { here.Close() })
		return here, there
	}
	open := func(c net.Conn) bool {
		_, err := c.Write([]byte("x"))
		return err == nil
	}
	known, _ := accept()
	if err := known.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := known.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	fresh, _ := accept()
	if err := fresh.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	gone, _ := accept()
	gone.Close()
	n.Dismiss()
	late, _ := accept()
	if !open(known) || open(fresh) || open(late) {
		t.Errorf("known %t, fresh %t, late %t", open(known), open(fresh), open(late))
	}
	if len(n.fresh) != 0 {
		t.Errorf("%d are kept", len(n.fresh))
	}
}
