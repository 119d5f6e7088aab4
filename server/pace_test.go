package server

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// A client is heard as fast as it asks for something, whatever that is cut into, and no faster than the rate as soon as
// it sends frames that ask for nothing.
func TestTriflesAreHeardSlowly(t *testing.T) {
	frame := func(kind, flags byte, body int) []byte {
		return append([]byte{byte(body >> 16), byte(body >> 8), byte(body), kind, flags, 0, 0, 0, 1},
			make([]byte, body)...)
	}
	request := append(frame(frameHeaders, 4, 200), frame(frameData, flagEndStream, 300)...)
	begun := frame(frameHeaders, 4, 200)
	const framePriority, frameFarewell, frameUnknown = 2, 7, 200
	for _, test := range []struct {
		name       string
		begin, one []byte
		cost       float64 // in trifles
	}{
		{"requests without an answer", nil, request, 0.5},
		{"requests with a body", nil, append(append(frame(frameHeaders, 4, 200), frame(frameData, 0, 9000)...),
			frame(frameData, flagEndStream, 300)...), 0.5},
		{"resets", nil, append(request, frame(frameReset, 0, 4)...), 1.5},
		{"pings", nil, frame(framePing, 0, 8), 1}, {"settings", nil, frame(frameSettings, 0, 6), 1},
		{"priorities", nil, frame(framePriority, 0, 5), 1}, {"empty data", begun, frame(frameData, 0, 0), 1},
		{"large headers", nil, frame(frameHeaders, 4, 16000), 30.5},
		{"continuations", nil, frame(frameContinuation, 0, 16000), 31},
		{"small continuations", nil, frame(frameContinuation, 0, 0), 1},
		{"frames that nobody knows", nil, frame(frameUnknown, 0, 0), 1},
		{"farewells", nil, frame(frameFarewell, 0, 8), 1},
		{"windows that answer nothing", nil, frame(frameWindow, 0, 4), 1},
		{"small data that answers nothing", begun, frame(frameData, 0, 16), 1},
		{"data of no request", nil, frame(frameData, 0, 9000), 1},
		{"nothing but padding", begun, frame(frameData, flagPadded, 256), 1},
		{"ends of no request", nil, frame(frameData, flagEndStream, 0), 1},
		{"large data", begun, frame(frameData, 0, 9000), 0},
		{"small data among large", begun, append(frame(frameData, 0, 9000), frame(frameData, 0, 16)...), 0},
		{"much small data among large", begun,
			append(frame(frameData, 0, 9000), bytes.Repeat(frame(frameData, 0, 16), 5)...), 3},
	} {
		now := time.Now()
		requests := underway{begin: func() func() { return func() {} }}
		c := newPace(now, &debtors{}, requests.heard)
		times := 2000
		if len(test.one) > 4000 {
			times = 500
		}
		all := append(append([]byte(nil), preface...), test.begin...)
		all = append(all, bytes.Repeat(test.one, times)...)
		var waited time.Duration
		for cut := 1; len(all) > 0; cut = cut*7%4099 + 1 {
			n := min(cut, len(all))
			c.hear(all[:n], now)
			wait := c.debt(now)
			waited, now, all = waited+wait, now.Add(wait), all[n:]
		}
		want := time.Duration(max(0, float64(times)*test.cost-freshBurst) / trifleRate * float64(time.Second))
		if diff := (waited - want).Abs(); diff > time.Millisecond*time.Duration(1+times/100) {
			t.Errorf("%s: waited %v, want %v", test.name, waited, want)
		}
	}
}

// nowhere is a connection that comes through no door.
type nowhere struct{ net.Conn }

func (nowhere) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (nowhere) SetReadDeadline(time.Time) error { return nil }

// endless is a client that sends one frame for as long as somebody reads, and hears nothing.
type endless struct {
	nowhere
	unread, one []byte
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.unread) == 0 {
			e.unread = e.one
		}
		more := copy(p[n:], e.unread)
		n, e.unread = n+more, e.unread[more:]
	}
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

// flooding is one that begins with a request if it asks, and goes on with a frame.
func flooding(at *clients, asks bool, one []byte) *leavable {
	begin := bytes.Clone(preface)
	if asks {
		begin = append(begin, framesOf([3]byte{frameHeaders, flagEndHeaders, 1})...)
	}
	return newLeavable(&endless{unread: begin, one: one}, at)
}

var (
	onePing    = append([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0}, make([]byte, 8)...)
	oneUnknown = framesOf([3]byte{11, 0, 0})
)

// However much is read at a time, and however long a client goes on, no more trifles are heard than the rate.
func TestTriflesAreHeardSlowlyForLong(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := flooding(&clients{}, true, onePing)
		read, began := 0, time.Now()
		for buffer := make([]byte, 32<<10); time.Since(began) < time.Minute; {
			n, err := c.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		const ping = frameHeaderBytes + 8
		if most := freshBurst + 63*trifleRate; read/ping > most+2*32<<10/ping {
			t.Errorf("%d pings in a minute, want at most about %d", read/ping, most)
		}
	})
}

// answering is a client that pings once for each answer that it was written.
type answering struct {
	nowhere
	written chan int
}

func (a *answering) Write(p []byte) (int, error) { a.written <- len(p); return len(p), nil }

func (a *answering) Read(p []byte) (int, error) {
	<-a.written
	return copy(p, append([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0}, make([]byte, 8)...)), nil
}

// A client that asks one after the other, and pings at each answer to find out what its connection can carry, as those
// of gRPC do, is heard at once for as long as it likes.
func TestPingsAtAnswersAreHeardAtOnce(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newLeavable(&answering{written: make(chan int, 1)}, &clients{})
		c.pace.skip = 0
		began, buffer := time.Now(), make([]byte, 4<<10)
		for range 10 * trifleBurst {
			if _, err := c.Write([]byte{0, 0, 1, frameData, 0, 0, 0, 0, 1, 0}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(buffer); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it waited %v", took)
		}
	})
}

// flood reads of a client until then, and returns how many of its frames were heard.
func (e *endless) flood(t *testing.T, c *leavable, until time.Time) int {
	read := 0
	for buffer := make([]byte, 32<<10); time.Now().Before(until); {
		n, err := c.Read(buffer)
		if err != nil {
			t.Error(err)
			return 0
		}
		read += n
	}
	return read / len(e.one)
}

// Many clients that send trifles cost a port no more than a few of them, whatever those are, and whether they have
// asked for something or have been answered.
func TestDebtorsShareWhatIsHeard(t *testing.T) {
	for _, test := range []struct {
		name    string
		clients int
		one     []byte
	}{
		{"50 that ping", 50, onePing}, {"50 of nine bytes", 50, oneUnknown}, {"1000 of nine bytes", 1000, oneUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				const seconds = 20
				at := &clients{}
				var heard atomic.Int64
				var all sync.WaitGroup
				debts := time.Now().Add(10 * time.Second) // then what each may send at once is sent
				for range test.clients {
					all.Go(func() {
						c := flooding(at, true, test.one)
						e := c.Conn.(*endless)
						e.flood(t, c, debts)
						heard.Add(int64(e.flood(t, c, debts.Add(seconds*time.Second))))
					})
				}
				all.Wait()
				most := (seconds+2)*allTrifles + test.clients
				if n := int(heard.Load()); n > most || n < seconds*allTrifles/2 {
					t.Errorf("%d frames in %d s, want at most %d", n, seconds, most)
				}
			})
		})
	}
}

// Who connects, asks nothing and sends what asks for nothing goes after a while; who has asked for something, or was
// answered, stays. All three are heard no more at first than they may send at once.
func TestWhoSendsTriflesAloneGoes(t *testing.T) {
	for name, test := range map[string]struct{ asks, answered, stays bool }{
		"nothing": {}, "a request": {asks: true, stays: true}, "an answer": {answered: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				c := flooding(&clients{}, test.asks, oneUnknown)
				if test.answered {
					c.Write(framesOf([3]byte{frameHeaders, flagEndHeaders, 1}))
				}
				began, heard := time.Now(), 0
				for buffer := make([]byte, 32<<10); time.Since(began) < time.Minute; {
					n, err := c.Read(buffer)
					if err != nil {
						break
					}
					if heard += n / frameHeaderBytes; time.Since(began) == 0 && heard > freshBurst+10 {
						t.Fatalf("%d frames at once", heard)
					}
				}
				if took := time.Since(began); (took >= time.Minute) != test.stays || took < longestDebt {
					t.Errorf("it is heard for %v", took)
				}
			})
		})
	}
}

// talking is a client whose frames come when they are given.
type talking struct {
	nowhere
	frames chan []byte
}

func (c *talking) Read(p []byte) (int, error)  { return copy(p, <-c.frames), nil }
func (c *talking) Write(p []byte) (int, error) { return len(p), nil }

// Windows that say that an answer was taken, and small messages of which each is answered, as those that renew leases,
// are heard at once, for as long as they go on and however many come in one go.
func TestWhatAnswersIsHeardAtOnce(t *testing.T) {
	window := append([]byte{0, 0, 4, frameWindow, 0, 0, 0, 0, 1}, make([]byte, 4)...)
	message := append([]byte{0, 0, 14, frameData, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9}, make([]byte, 9)...)
	answer := append([]byte{0, 0, 20, frameData, 0, 0, 0, 0, 1}, make([]byte, 20)...)
	for name, test := range map[string]struct {
		said   []byte // for each answer
		before int    // answers before he says as much in one go
	}{
		"two windows for each":   {append(bytes.Clone(window), window...), 1},
		"a lease":                {message, 1},
		"thousands of leases":    {message, mostCredit / 4},
		"hundreds, at the first": {message, 0},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				c := newLeavable(&talking{frames: make(chan []byte, 4*mostCredit)}, &clients{})
				c.pace.skip = 0
				said, buffer, waited := c.Conn.(*talking).frames, make([]byte, 4<<10), time.Duration(0)
				read := func() {
					began := time.Now()
					if _, err := c.Read(buffer); err != nil {
						t.Fatal(err)
					}
					waited += time.Since(began)
				}
				said <- framesOf([3]byte{frameHeaders, flagEndHeaders, 1})
				read()
				batch := max(test.before, freshBurst-1)
				for range test.before {
					c.Write(answer)
				}
				for range 50 {
					for range batch {
						said <- test.said
						read()
					}
					for range batch {
						c.Write(answer)
					}
				}
				if waited > 50*10*time.Millisecond {
					t.Errorf("it waited %v", waited)
				}
			})
		})
	}
}

// asking is a client that makes one request after the other, and hears what it is answered.
type asking struct{ nowhere }

func (a *asking) Write(p []byte) (int, error) { return len(p), nil }

func (a *asking) Read(p []byte) (int, error) {
	return copy(p, []byte{0, 0, 0, frameHeaders, flagEndHeaders | flagEndStream, 0, 0, 0, 1}), nil
}

// Whoever is answered asks as fast as he likes; whoever is refused, again and again, is heard slowly.
func TestWhoIsRefusedIsHeardSlowly(t *testing.T) {
	headers := []byte{0, 0, 0, frameHeaders, flagEndHeaders, 0, 0, 0, 1}
	end := []byte{0, 0, 0, frameHeaders, flagEndHeaders | flagEndStream, 0, 0, 0, 1}
	for name, c := range map[string]struct {
		answer []byte
		waits  bool
	}{
		"answers":         {append(append([]byte{}, headers...), end...), false},
		"errors":          {end, true},
		"refused streams": {[]byte{0, 0, 4, frameReset, 0, 0, 0, 0, 1, 0, 0, 0, 7}, true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				l := newLeavable(&asking{}, &clients{})
				l.pace.skip = 0
				began, buffer := time.Now(), make([]byte, frameHeaderBytes)
				const requests = 10_000
				for range requests {
					if _, err := l.Read(buffer); err != nil {
						t.Fatal(err)
					}
					if _, err := l.Write(c.answer); err != nil {
						t.Fatal(err)
					}
				}
				slow := requests / 2 / trifleRate * time.Second // each half a trifle at least
				if took := time.Since(began); (took >= slow) != c.waits || !c.waits && took > 0 {
					t.Errorf("it waited %v", took)
				}
			})
		})
	}
}

// stalled is a client who asks and gives up, again and again, as long as nothing is answered.
type stalled struct{ nowhere }

func (stalled) Read(p []byte) (int, error) {
	return copy(p, []byte{0, 0, 0, frameHeaders, flagEndHeaders | flagEndStream, 0, 0, 0, 1,
		0, 0, 4, frameReset, 0, 0, 0, 0, 1, 0, 0, 0, 8}), nil
}

func (stalled) Write(p []byte) (int, error) { return len(p), nil }

// A client whose requests were answered until nothing was any more, and who gave up thousands of them, is heard as soon
// as it goes on; whoever never was is heard again a second later at most, however long that took.
func TestAClientIsHeardAfterAStall(t *testing.T) {
	headers := []byte{0, 0, 0, frameHeaders, flagEndHeaders, 0, 0, 0, 1}
	end := []byte{0, 0, 0, frameHeaders, flagEndHeaders | flagEndStream, 0, 0, 0, 1}
	for name, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				l := newLeavable(&stalled{}, &clients{})
				l.pace.skip = 0
				one := make([]byte, 22) // a request and a reset
				read := func() {
					if _, err := l.Read(one); err != nil {
						t.Fatal(err)
					}
				}
				if known {
					for range 2 * mostCredit {
						l.Write(append(append([]byte{}, headers...), end...))
					}
				}
				read()
				began := time.Now()
				for range mostCredit/2 - 1 {
					read()
					l.Write(end) // and it is told that there is no leader
				}
				if took := time.Since(began); known && took > 0 {
					t.Errorf("it waited %v while nothing was answered", took)
				}
				l.Write(append(append([]byte{}, headers...), end...))
				began = time.Now()
				read()
				if took := time.Since(began); took > longestWait {
					t.Errorf("it is heard %v later", took)
				}
			})
		})
	}
}
