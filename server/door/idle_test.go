package door

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who has begun a request at the last moment stays, and who is to leave is told so before his connection ends.
func TestWhoLeavesIsToldBefore(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 2, Strangers: 2})
		busy, in := h.visit(t)
		Vouch(in)
		Requests(in, func() bool { return false })
		time.Sleep(time.Second)
		idle, in := h.visit(t)
		Vouch(in)
		Farewell(in, func() { io.WriteString(in, "farewell") })
		var retired atomic.Bool
		Requests(in, func() bool { retired.Store(true); return true })
		time.Sleep(time.Minute)
		if retired.Load() {
			t.Error("retired, and nobody came")
		}
		if _, in := h.visit(t); in == nil || !retired.Load() {
			t.Fatal("the newcomer was kept out")
		}
		if said, err := io.ReadAll(idle); string(said) != "farewell" {
			t.Errorf("it was told %q, %v", said, err)
		}
		if ended(busy) {
			t.Error("who has begun a request had to leave")
		}
	})
}

// Who reads nothing of a farewell delays nobody, and is not waited for.
func TestAFarewellHasAnEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 1, Strangers: 1})
		_, in := h.visit(t)
		Vouch(in)
		Farewell(in, func() { in.Write(make([]byte, 1<<20)) })
		Requests(in, func() bool { return true })
		time.Sleep(time.Minute)
		if _, newcomer := h.visit(t); newcomer == nil {
			t.Fatal("the newcomer was kept out")
		}
		time.Sleep(2 * farewellTime)
		virtual.Wait()
		if _, err := in.Write([]byte("x")); err == nil {
			t.Error("it is open still")
		}
	})
}

// An answer that is on its way counts as long as some of it has not arrived.
func TestWhatIsOnItsWayIsNotIdle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := New(l, Options{Name: "test", Most: 1, Strangers: 1, Patience: time.Nanosecond})
	defer d.Close()
	reader, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	in, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	Vouch(in)
	Requests(in, func() bool { return true })
	end := Request(in.RemoteAddr())
	in.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // by when the system has taken all that it takes
	sent, _ := in.Write(make([]byte, 64<<20))
	end()
	d.mu.Lock()
	c, waits := d.longestIdle(), unsent(in.(*conn).Conn)
	d.mu.Unlock()
	if waits == 0 {
		t.Skip("this system does not say what has arrived")
	}
	if c != nil {
		t.Fatalf("it is to leave, and %d bytes of its answer are on their way", waits)
	}
	if _, err := io.CopyN(io.Discard, reader, int64(sent)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); c == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("all of the answer was taken, and it may stay")
		}
		d.mu.Lock()
		c = d.longestIdle()
		d.mu.Unlock()
	}
}
