package server

import (
	"bytes"
	"net"
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
		{"requests", request, 0}, {"requests with a body", append(request, frame(frameData, 0, 9000)...), 0},
		{"windows", frame(8, 0, 4), 0}, {"resets", append(request, frame(frameReset, 0, 4)...), 1},
		{"pings", frame(framePing, 0, 8), 1}, {"settings", frame(frameSettings, 0, 6), 1},
		{"priorities", frame(framePriority, 0, 5), 1}, {"empty data", frame(frameData, 0, 0), 1},
		{"the end of a request", frame(frameData, flagEndStream, 0), 0},
		{"large headers", frame(frameHeaders, 4, 16000), 30}, {"continuations", frame(frameContinuation, 0, 16000), 30},
	} {
		now := time.Now()
		c := newPace(now, func([frameHeaderBytes]byte) {})
		const times = 10_000
		all := append(append([]byte(nil), preface...), bytes.Repeat(test.one, times)...)
		var waited time.Duration
		for cut := 1; len(all) > 0; cut = cut*7%4099 + 1 {
			n := min(cut, len(all))
			wait := c.hear(all[:n], now)
			waited, now, all = waited+wait, now.Add(wait), all[n:]
		}
		want := time.Duration(max(0, times*test.cost-trifleBurst) / trifleRate * float64(time.Second))
		if diff := (waited - want).Abs(); diff > time.Millisecond*time.Duration(1+times/100) {
			t.Errorf("%s: waited %v, want %v", test.name, waited, want)
		}
	}
}

// endless is a client that sends pings for as long as somebody reads.
type endless struct {
	net.Conn
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
		c := newLeavable(&endless{unread: []byte(preface)})
		read, began := 0, time.Now()
		for buffer := make([]byte, 32<<10); time.Since(began) < time.Minute; {
			n, err := c.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		const ping = frameHeaderBytes + 8
		if most := trifleBurst + 63*trifleRate; read/ping > most+2*32<<10/ping {
			t.Errorf("%d pings in a minute, want at most about %d", read/ping, most)
		}
	})
}

// answering is a client that pings once for each answer that it was written.
type answering struct {
	net.Conn
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
		c := newLeavable(&answering{written: make(chan int, 1)})
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
