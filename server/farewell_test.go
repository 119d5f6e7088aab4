package server

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// sink keeps what is written to it.
type sink struct {
	nowhere
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (s *sink) Read(p []byte) (int, error)  { return s.Buffer.Read(p) }

// A farewell stands between two frames, and not between headers and their continuation, once, wherever it is asked for
// and however the frames are cut into writes.
func TestFarewellStandsBetweenFrames(t *testing.T) {
	frame := func(body int, kind, flags byte) []byte {
		return append([]byte{byte(body >> 16), byte(body >> 8), byte(body), kind, flags, 0, 0, 0, 5},
			bytes.Repeat([]byte{0x77}, body)...)
	}
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		var all []byte
		var ends []int
		for range 1 + random.IntN(6) {
			size := []int{0, 0, 0, 1, 1, 1, 8, 8, 8, 300, 300, 300, 70_000}[random.IntN(13)]
			if random.IntN(3) == 0 {
				all = append(append(all, frame(size, frameHeaders, 0)...), frame(size, frameContinuation, 0)...)
				all = append(all, frame(1, frameContinuation, flagEndHeaders)...)
			} else {
				all = append(all, frame(size, frameData, flagEndStream)...)
			}
			ends = append(ends, len(all))
		}
		out := &sink{}
		c := newLeavable(out, &clients{})
		asked := random.IntN(len(all) + 1)
		for at := 0; at < len(all); {
			if at >= asked {
				c.farewell()
				asked = len(all) + 1
			}
			n := 1 + random.IntN(min(len(all)-at, []int{1, 20, 1 << 20}[random.IntN(3)]))
			if more, err := c.Write(all[at : at+n]); err != nil || more != n {
				t.Fatalf("seed %d: wrote %d of %d, %v", seed, more, n, err)
			}
			at += n
		}
		if asked <= len(all) {
			c.farewell()
		}
		got := out.Buffer.Bytes()
		place := bytes.Index(got, goAway)
		if place < 0 {
			t.Fatalf("seed %d: not said", seed)
		}
		at := place == 0
		for _, end := range ends {
			at = at || place == end
		}
		rest := append(append([]byte(nil), got[:place]...), got[place+len(goAway):]...)
		if !at || !bytes.Equal(rest, all) {
			t.Fatalf("seed %d: said at %d, frames end at %v", seed, place, ends)
		}
	}
}

// Who reads is woken to hear of requests that were refused, over TLS as well, and what comes after that is heard; the
// resets of those have the code of this side, wherever they are cut, and others keep theirs.
func TestRequestsThatAreRefusedAreEndedBetweenFrames(t *testing.T) {
	paths := newAuthority(t, "us").issue(t, "n")
	certificate, err := tls.LoadX509KeyPair(paths.Cert, paths.Key)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer far.Close()
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	c := newLeavable(tls.Server(near, &tls.Config{Certificates: []tls.Certificate{certificate}}), &clients{})
	defer c.Close()
	c.requests.begin = func() func() { return func() {} }
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(append(bytes.Clone(preface), headersOf(1, "/a")...))
		sent <- err
	}()
	read := func(n int) []byte {
		t.Helper()
		p := make([]byte, n)
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	read(len(preface) + len(headersOf(1, "/a")))
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.requests.opens(false, 0)
	go func() {
		c.requests.mu.Lock()
		c.requests.refuse(1, c.requests.streams[1], codeCalm)
		c.requests.mu.Unlock()
		c.requests.told(1, func() {})
	}()
	if got, want := read(13), frameOf(frameWindow, 0, 1, make([]byte, 4)); !bytes.Equal(got, want) {
		t.Fatalf("heard %x", got)
	}
	go client.Write(onePing)
	if got := read(len(onePing)); !bytes.Equal(got, onePing) {
		t.Errorf("heard %x after that", got)
	}
	reset := func(id, code byte) []byte { return frameOf(frameReset, 0, uint32(id), []byte{0, 0, 0, code}) }
	said := append(append(framesOf([3]byte{framePing}), reset(3, 1)...), reset(1, 1)...)
	want := append(append(framesOf([3]byte{framePing}), reset(3, 1)...), reset(1, codeCalm)...)
	go func() {
		for i := range said {
			c.Write(said[i : i+1])
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("said %x, want %x: %v", got, want, err)
	}
}

// deadline is a connection that knows whether its deadline is past; before is called before that becomes so.
type deadline struct {
	nowhere
	past   bool
	before func()
}

func (d *deadline) SetReadDeadline(at time.Time) error {
	past := !at.IsZero()
	if past && d.before != nil {
		d.before()
	}
	d.past = past
	return nil
}

// Who reads is woken twice at once, and no deadline is left behind of which he does not know why it is past: it would
// end the connection.
func TestWhoIsWokenTwiceReadsOn(t *testing.T) {
	at := &deadline{}
	c := newLeavable(at, &clients{})
	c.wake()
	woken := make(chan bool, 1)
	at.before = func() {
		go func() { woken <- c.woken(os.ErrDeadlineExceeded) }()
		for n := 0; n < 1000 && len(woken) == 0; n++ {
			runtime.Gosched()
		}
	}
	c.wake()
	if !<-woken {
		t.Error("he does not know that he was woken")
	}
	if at.past && !c.woken(os.ErrDeadlineExceeded) {
		t.Error("he does not know that he was woken again")
	}
}

// What gRPC ends by itself before it hears that it was refused keeps its codes, and is not ended again.
func TestWhatIsAnsweredMeanwhileIsNotRefused(t *testing.T) {
	s := &sink{}
	c := newLeavable(s, &clients{})
	defer c.requests.leave()
	c.requests.begin = func() func() { return func() {} }
	for id := uint32(1); id < 5; id += 2 {
		c.requests.heard([9]byte{3: frameHeaders, 4: flagEndHeaders, 8: byte(id)})
		c.requests.opens(true, 0)
		c.requests.mu.Lock()
		c.requests.refuse(id, c.requests.streams[id], codeCalm)
		c.requests.mu.Unlock()
	}
	answer := framesOf([3]byte{frameHeaders, flagEndHeaders | flagEndStream, 1})
	said := append(answer, frameOf(frameReset, 0, 1, make([]byte, 4))...)
	if c.Write(said); !bytes.Equal(s.Bytes(), said) {
		t.Errorf("said %x, want %x", s.Bytes(), said)
	}
	if got, want := c.requests.endings(), frameOf(frameWindow, 0, 3, make([]byte, 4)); !bytes.Equal(got, want) {
		t.Errorf("ended by %x, want %x", got, want)
	}
}

// Requests may be refused while gRPC's own resets of them are written, which is looked for only before that: of what
// has gone out of a reset by then nothing changes, and what has not begun has the code of this side from then on.
func TestRequestsThatAreRefusedWhileTheirResetsAreWritten(t *testing.T) {
	first := frameOf(frameReset, 0, 1, []byte{0, 0, 0, 8})
	said := append(bytes.Clone(first), frameOf(frameReset, 0, 3, []byte{0, 0, 0, 8})...)
	after := framesOf([3]byte{framePing})
	for cut := 1; cut < len(said); cut++ {
		for _, known := range []bool{false, true} { // before what is left is written
			s := &sink{}
			c := newLeavable(s, &clients{})
			c.requests.begin = func() func() { return func() {} }
			for id := byte(1); id < 5; id += 2 {
				c.requests.heard([9]byte{3: frameHeaders, 4: flagEndHeaders, 8: id})
				c.requests.streams[uint32(id)].refused = true
				c.requests.streams[uint32(id)].code = codeCalm
			}
			want := append(bytes.Clone(said), after...)
			for at := 0; at < len(said); at += len(first) {
				if out := cut - at; out == frameHeaderBytes || known && out < frameHeaderBytes {
					want[at+len(first)-1] = codeCalm
				}
			}
			for i, p := range [][]byte{said[:cut], said[cut:], after} {
				if n, err := c.Write(p); n != len(p) || err != nil {
					t.Fatalf("cut at %d: %d of %d, %v", cut, n, len(p), err)
				}
				if i == 0 && known {
					c.requests.ending.Add(2)
				}
			}
			if !bytes.Equal(s.Bytes(), want) {
				t.Errorf("cut at %d, known %t: said %x, want %x", cut, known, s.Bytes(), want)
			}
		}
	}
}

// Who waits for his debt does so within headers too, also where a request of his is to be ended: each of their frames
// is paid for.
func TestHeadersWithoutAnEndAreHeardSlowlyWhereARequestIsToBeEnded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := flooding(&clients{}, true, framesOf([3]byte{frameContinuation, 0, 3}))
		read := func(n int) {
			if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		read(len(preface) + frameHeaderBytes)
		c.requests.opens(false, 0)
		read(frameHeaderBytes)
		c.requests.mu.Lock()
		c.requests.refuse(1, c.requests.streams[1], codeCalm)
		c.requests.mu.Unlock()
		began := time.Now()
		const frames = 6 * trifleRate
		read(frames * frameHeaderBytes)
		if passed := time.Since(began); passed < 5*time.Second {
			t.Errorf("%d are heard in %s", frames, passed)
		}
		c.requests.leave()
	})
}
