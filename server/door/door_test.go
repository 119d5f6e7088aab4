package door

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// house is a door with whoever came in.
type house struct {
	*Door
	street *bufconn.Listener
	mu     sync.Mutex
	inside []net.Conn
}

func open(t *testing.T, o Options) *house {
	o.Name, o.Logger = "test", slog.New(slog.DiscardHandler)
	h := &house{street: bufconn.Listen(1 << 10)}
	h.Door = New(h.street, o)
	go func() {
		for {
			c, err := h.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.inside = append(h.inside, c)
			h.mu.Unlock()
		}
	}()
	t.Cleanup(func() { h.Close() })
	return h
}

// visit makes a connection and returns it with its other side, nil if that was not let in.
func (h *house) visit(t *testing.T) (outside, inside net.Conn) {
	t.Helper()
	h.mu.Lock()
	before := len(h.inside)
	h.mu.Unlock()
	c, err := h.street.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	virtual.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.inside) == before {
		return c, nil
	}
	return c, h.inside[before]
}

func ended(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

func TestNoMoreThanMost(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 3, Strangers: 3})
		var guests []net.Conn
		for range 3 {
			_, in := h.visit(t)
			Vouch(in)
			guests = append(guests, in)
		}
		time.Sleep(time.Hour) // who is known may stay
		if out, in := h.visit(t); in != nil || !ended(out) {
			t.Fatal("a fourth was let in, or left waiting")
		}
		guests[1].Close()
		guests[1].Close()
		if _, in := h.visit(t); in == nil {
			t.Fatal("a place that was given back is not given away")
		}
		if f := h.Figures(); f.Open != 3 || f.Refused[ReasonFull] != 1 || f.Refused[ReasonStranger] != 0 {
			t.Fatalf("%+v", f)
		}
	})
}

// Who asks nothing keeps nobody out: where there is no room, who has asked nothing for longest leaves, and nobody who
// waits for an answer, who asked a moment ago, or of whom it is not known.
func TestWhoAsksNothingMakesRoom(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 4, Strangers: 4})
		var outside []net.Conn
		var ends []func()
		for i := range 4 {
			out, in := h.visit(t)
			Vouch(in)
			if i != 3 {
				Requests(in, func() bool { return true })
				ends = append(ends, Request(in.RemoteAddr()))
			}
			outside = append(outside, out)
		}
		ends[0]()
		time.Sleep(time.Second)
		ends[1]()
		if _, in := h.visit(t); in != nil {
			t.Fatal("who has asked a moment ago had to leave")
		}
		time.Sleep(time.Hour)
		for i, want := range []bool{true, true, false} { // as many as are idle, the first is so for longest
			_, in := h.visit(t)
			if (in != nil) != want {
				t.Fatalf("newcomer %d was let in: %t", i, in != nil)
			}
			if in != nil {
				Vouch(in) // of whom nothing is known
			}
		}
		for i, out := range outside {
			if ended(out) != (i < 2) {
				t.Errorf("connection %d ended: %t", i, !(i < 2))
			}
		}
		if f := h.Figures(); f.Open != 4 || f.Refused[ReasonIdle] != 2 || f.Refused[ReasonFull] != 2 {
			t.Fatalf("%+v", f)
		}
	})
}

// Strangers keep nobody out, however many there are: not of a place among the strangers, and of no other.
func TestStrangersMakeRoom(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 2})
		first, _ := h.visit(t)
		h.visit(t)
		_, third := h.visit(t)
		if third == nil || !ended(first) {
			t.Fatal("the third must take the place of the first")
		}
		if f := h.Figures(); f.Open != 2 || f.Strangers != 2 || f.Refused[ReasonStranger] != 1 {
			t.Fatalf("%+v", f)
		}
		full := open(t, Options{Most: 2, Strangers: 2})
		_, known := full.visit(t)
		Vouch(known)
		stranger, _ := full.visit(t)
		if _, in := full.visit(t); in == nil || !ended(stranger) {
			t.Fatal("where all places are taken, a stranger must leave")
		}
	})
}

func TestAStrangerHasToLeave(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 5, Patience: 10 * time.Second})
		stranger, _ := h.visit(t)
		friend, in := h.visit(t)
		time.Sleep(9 * time.Second)
		if ended(stranger) {
			t.Fatal("too early")
		}
		Vouch(in)
		time.Sleep(2 * time.Second)
		virtual.Wait()
		if !ended(stranger) || ended(friend) {
			t.Fatal("a stranger stays, or a friend had to go")
		}
		if f := h.Figures(); f.Open != 1 || f.Strangers != 0 {
			t.Fatalf("%+v", f)
		}
	})
}

// troubled is a listener whose Accept fails.
type troubled struct {
	net.Listener
	trouble chan error
}

func (l troubled) Accept() (net.Conn, error) {
	select {
	case err := <-l.trouble:
		return nil, &net.OpError{Op: "accept", Err: err}
	default:
		return l.Listener.Accept()
	}
}

// ENOBUFS counts as lasting for package net, and would end a server.
func TestAcceptGoesOn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		street := bufconn.Listen(1 << 10)
		l := troubled{street, make(chan error, 8)}
		for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
			l.trouble <- errno
		}
		d := New(l, Options{Name: "test", Most: 1, Strangers: 1, Logger: slog.New(slog.DiscardHandler)})
		go street.DialContext(t.Context())
		c, err := d.Accept()
		if err != nil || d.Figures().Refused[ReasonSystem] != 4 {
			t.Fatalf("%v, %+v", err, d.Figures())
		}
		c.Close()
		d.Close()
		if _, err := d.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}

// Nobody waits who does not stand there: it is counted and told when one does. He is let in when his time has come, and
// closed if the door is before.
func TestWhoWaitsIsCounted(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 10})
		h.tolls.all.rate = rate{burst: 1, each: 1}
		later := func() (waited uint64, inside int) {
			time.Sleep(10 * time.Second)
			virtual.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.Figures().Refused[ReasonWaits], len(h.inside)
		}
		for n := range 3 {
			_, in := h.visit(t)
			if in == nil != (n == 2) {
				t.Errorf("newcomer %d is let in at once: %t", n, in != nil)
			}
			if n == 1 && h.Figures().Refused[ReasonWaits] != 0 {
				t.Error("one waits whom nobody has seen")
			}
		}
		if waited, inside := later(); waited != 1 || inside != 3 {
			t.Errorf("%d waited, %d are in", waited, inside)
		}
		h.visit(t)
		h.visit(t)
		if waited, inside := later(); waited != 1 || inside != 5 {
			t.Errorf("%d waited, %d are in", waited, inside)
		}
		h.visit(t)
		h.visit(t)
		out, _ := h.visit(t)
		h.Close()
		if waited, inside := later(); waited != 2 || inside != 7 || !ended(out) {
			t.Errorf("who waits at a door that is closed is left there: %d waited, %d are in", waited, inside)
		}
	})
}

func TestSharesLeaveAReserve(t *testing.T) {
	for _, limit := range []int{LeastLimit, 512, 1024, 4096, 20000, 1 << 20, 0} {
		s, err := Split(limit, 0)
		if err != nil {
			t.Fatal(err)
		}
		if used := s.Tables + s.Clients + s.Peers + s.HTTP; used+reserve > s.Limit || s.HTTP < 16 || s.Peers < 16 ||
			s.Clients < 32 || s.Tables < 64 {
			t.Errorf("%d: %+v", limit, s)
		}
	}
	if _, err := Split(LeastLimit-1, 0); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Error(err)
	}
	if s, err := Split(1024, 100); err != nil || s.Clients != 100 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Split(1024, 900); err == nil || !strings.Contains(err.Error(), "max-connections 900") ||
		!strings.Contains(err.Error(), "1024") {
		t.Error(err)
	}
}

// Who is asked to leave gets a farewell and some time, where there is one to say; and who wants to know of the end of a
// connection is told once, whatever ended it.
func TestDismiss(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 5})
		type guest interface {
			OnClose(func())
			Dismiss(time.Duration)
		}
		var told int
		rude, in := h.visit(t)
		in.(guest).OnClose(func() { told++ })
		in.(guest).Dismiss(time.Second)
		if !ended(rude) || told != 1 {
			t.Error("without a farewell there is nothing to wait for")
		}
		in.Close()
		in.(guest).OnClose(func() { told++ })
		if told != 2 {
			t.Errorf("told %d times", told)
		}
		polite, in := h.visit(t)
		var said atomic.Int32
		Farewell(in, func() { said.Add(1) })
		Vouch(in)
		in.(guest).Dismiss(10 * time.Second)
		time.Sleep(9 * time.Second)
		if said.Load() != 1 || ended(polite) {
			t.Errorf("the farewell was said %d times, or the connection ended too early", said.Load())
		}
		time.Sleep(2 * time.Second)
		if virtual.Wait(); !ended(polite) {
			t.Error("it is still there")
		}
		if f := h.Figures(); f.Open != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// Handshakes that fail are counted, and of many the log has one.
func TestFailedHandshakes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 5})
		var log bytes.Buffer
		h.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		for range 1000 {
			out, in := h.visit(t)
			Failed(in.RemoteAddr(), errors.New(strings.Repeat("bad certificate ", 1000)))
			in.Close()
			Failed(in.RemoteAddr(), errors.New("it is gone"))
			out.Close()
		}
		_, in := h.visit(t)
		Failed(in.RemoteAddr(), io.EOF) // it only looked
		if f := h.Figures(); f.Refused[ReasonHandshake] != 1000 || log.Len() > 500 {
			t.Errorf("%+v\n%s", f, log.String())
		}
	})
}

// A stranger has a bounded number of words; who is known has as many as he likes (D2).
func TestAStrangerWhoTalksTooMuchHasToLeave(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 5})
		for _, known := range []bool{false, true} {
			out, in := h.visit(t)
			if known {
				Vouch(in)
			}
			said := make(chan int64)
			go func() {
				n, _ := io.Copy(out, io.LimitReader(endless{}, 4*MostStrangerBytes))
				out.Close()
				said <- n
			}()
			n, _ := io.Copy(io.Discard, in)
			in.Close()
			<-said
			if known != (n == 4*MostStrangerBytes) || n > MostStrangerBytes && !known {
				t.Errorf("known %t: heard %d bytes", known, n)
			}
		}
		if f := h.Figures(); f.Refused[ReasonStranger] != 1 || f.Open != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// endless says anything.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
