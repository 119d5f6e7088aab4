package door

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// street is a port with a door.
type street struct {
	*Door
	t *testing.T
}

func atPort(t *testing.T, o Options) *street {
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	d := New(covering{l}, o)
	t.Cleanup(func() { d.Close() })
	return &street{d, t}
}

// covering covers the sockets, as the addresses do of which one has another scheme.
type covering struct{ net.Listener }

type covered struct{ net.Conn }

func (c covered) NetConn() net.Conn { return c.Conn }

func (l covering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return covered{c}, err
}

// visit makes a connection, and has the door look at it.
func (s *street) visit() (outside, inside net.Conn) {
	s.t.Helper()
	outside, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { outside.Close() })
	c, err := s.Listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return outside, s.admit(c)
}

// hears returns what the other side said, and how it ended.
func hears(t *testing.T, c net.Conn) (string, error) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	text, err := io.ReadAll(c)
	return string(text), err
}

// It is asked of those alone whether they are there who have shown what they are.
func TestStrangersAreNotAskedWhetherTheyAreThere(t *testing.T) {
	s := atPort(t, Options{Most: 4, Strangers: 4})
	_, in := s.visit()
	asked := func() int {
		raw, err := socketOf(in).(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		on := -1
		if err := raw.Control(func(fd uintptr) {
			on, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		}); err != nil {
			t.Fatal(err)
		}
		return on
	}
	if asked() != 0 {
		t.Error("a stranger is asked")
	}
	if Vouch(in); asked() != 1 {
		t.Error("who is known is not")
	}
}

// looked is a connection that tells when somebody wants the one below.
type looked struct {
	covered
	looks func()
}

func (l looked) NetConn() net.Conn {
	l.looks()
	return l.covered.NetConn()
}

// Two vouch for a connection at once, and then one of them sets how it is asked: that stays, also if he comes second.
func TestHowItIsAskedIsForWhoVouchesToSay(t *testing.T) {
	s := atPort(t, Options{Most: 4, Strangers: 4})
	outside, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	c, err := s.Listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	tcp := socketOf(c).(*net.TCPConn)
	set, looks := make(chan error, 1), func() {}
	in := s.admit(looked{covered{c}, func() { looks() }})
	defer in.Close()
	const idle = 3 * time.Second
	looks = func() {
		looks = func() {}
		go func() {
			Vouch(in)
			set <- tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle})
		}()
		for n := 0; n < 1000 && len(set) == 0; n++ {
			runtime.Gosched()
		}
	}
	Vouch(in)
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var is int
	if failed := raw.Control(func(fd uintptr) {
		is, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	}); failed != nil || err != nil || time.Duration(is)*time.Second != idle {
		t.Errorf("it is asked after %d s, want %s: %v, %v", is, idle, failed, err)
	}
}

// Who makes room or is turned away is forgotten by the system too, with nothing left to wait for; but one who was told
// something hears it.
func TestWhoLeavesWithoutAWordIsForgotten(t *testing.T) {
	s := atPort(t, Options{Most: 2, Strangers: 1})
	silent, _ := s.visit()
	polite, in := s.visit()
	if _, err := hears(t, silent); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who said nothing and made room: %v", err)
	}
	if _, err := polite.Write([]byte("may I")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("no")); err != nil {
		t.Fatal(err)
	}
	_, in = s.visit()
	if text, err := hears(t, polite); text != "no" || err != nil {
		t.Errorf("who was told why he is refused heard %q, %v", text, err)
	}
	Vouch(in)
	_, in = s.visit()
	Vouch(in)
	for range 2 {
		late, in := s.visit()
		if _, err := hears(t, late); in != nil || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("one who is kept out: %v", err)
		}
		s.tolls.of[sourceOf(late.RemoteAddr())].owed = 10 * tollOfOne.burst // the next one is turned away
	}
	if f := s.Figures(); f.Refused[ReasonFull] != 1 || f.Refused[ReasonToll] != 1 || f.Refused[ReasonStranger] != 2 {
		t.Errorf("%+v", f)
	}
}
