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
	for _, test := range []struct {
		name string
		one  []byte
		cost float64 // in trifles
	}{
		{"requests without an answer", request, 0.5},
		{"requests with a body", append(request, frame(frameData, 0, 9000)...), 0.5},
		{"windows", frame(8, 0, 4), 0}, {"resets", append(request, frame(frameReset, 0, 4)...), 1.5},
		{"pings", frame(framePing, 0, 8), 1}, {"settings", frame(frameSettings, 0, 6), 1},
		{"priorities", frame(framePriority, 0, 5), 1}, {"empty data", frame(frameData, 0, 0), 1},
		{"the end of a request", frame(frameData, flagEndStream, 0), 0},
		{"large headers", frame(frameHeaders, 4, 16000), 30.5},
		{"continuations", frame(frameContinuation, 0, 16000), 30},
	} {
		now := time.Now()
		c := newPace(now, &debtors{}, func([frameHeaderBytes]byte) {})
		const times = 10_000
		all := append(append([]byte(nil), preface...), bytes.Repeat(test.one, times)...)
		var waited time.Duration
		for cut := 1; len(all) > 0; cut = cut*7%4099 + 1 {
			n := min(cut, len(all))
			c.hear(all[:n], now)
			wait := c.debt(now)
			waited, now, all = waited+wait, now.Add(wait), all[n:]
		}
		want := time.Duration(max(0, times*test.cost-freshBurst) / trifleRate * float64(time.Second))
		if diff := (waited - want).Abs(); diff > time.Millisecond*time.Duration(1+times/100) {
			t.Errorf("%s: waited %v, want %v", test.name, waited, want)
		}
	}
}

// nowhere is a connection that comes through no door.
type nowhere struct{ net.Conn }

func (nowhere) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// endless is a client that sends pings for as long as somebody reads.
type endless struct {
	nowhere
	unread []byte
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.unread) == 0 {
			e.unread = append([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0}, make([]byte, 8)...)
		}
		more := copy(p[n:], e.unread)
		n, e.unread = n+more, e.unread[more:]
	}
	return n, nil
}

// However much is read at a time, and however long a client goes on, no more trifles are heard than the rate.
func TestTriflesAreHeardSlowlyForLong(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newLeavable(&endless{unread: []byte(preface)}, &debtors{})
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
		c := newLeavable(&answering{written: make(chan int, 1)}, &debtors{})
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

// pinging reads of a client that pings without an end, for so long, and returns how many pings were heard.
func pinging(t *testing.T, c *leavable, d time.Duration) int {
	read := 0
	for began, buffer := time.Now(), make([]byte, 32<<10); time.Since(began) < d; {
		n, err := c.Read(buffer)
		if err != nil {
			t.Error(err)
			return 0
		}
		read += n
	}
	return read / (frameHeaderBytes + 8)
}

// Many clients that send trifles cost a port no more than a few of them.
func TestDebtorsShareWhatIsHeard(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const clients, minute = 50, 60
		var others debtors
		var heard atomic.Int64
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				c := newLeavable(&endless{unread: []byte(preface)}, &others)
				heard.Add(int64(pinging(t, c, minute*time.Second)))
			})
		}
		all.Wait()
		// What each may send at once, what one read brings before it is known to go on, and the rate of all.
		const most = clients*(freshBurst+32<<10/(frameHeaderBytes+8)) + (minute+5)*allTrifles
		if n := int(heard.Load()); n > most || n < minute*allTrifles/2 {
			t.Errorf("%d pings in a minute, want at most %d", n, most)
		}
	})
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
				l := newLeavable(&asking{}, &debtors{})
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
				l := newLeavable(&stalled{}, &debtors{})
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
