package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/door"
)

// spoken is a connection of HTTP/2 on which frames are said one by one.
type spoken struct {
	net.Conn
	t *testing.T

	mu    sync.Mutex
	ended map[uint32]time.Time // requests of which the last frame was heard
	codes map[uint32]uint32    // of those that were reset, unless they were over before
	after int                  // frames of those
}

func (i *inn) speak(t *testing.T) *spoken {
	c, err := i.street.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &spoken{Conn: c, t: t, ended: map[uint32]time.Time{}, codes: map[uint32]uint32{}}
	t.Cleanup(func() { c.Close() })
	s.say(bytes.Clone(preface), frameOf(frameSettings, 0, 0, nil))
	go s.listen()
	return s
}

func (s *spoken) listen() {
	for header := ([frameHeaderBytes]byte{}); ; {
		if _, err := io.ReadFull(s, header[:]); err != nil {
			return
		}
		body := make([]byte, lengthOf(header))
		if _, err := io.ReadFull(s, body); err != nil {
			return
		}
		id := streamOf(header)
		s.mu.Lock()
		if _, reset := s.codes[id]; reset {
			s.after++
		}
		if header[3] == frameReset && s.ended[id].IsZero() {
			s.codes[id] = binary.BigEndian.Uint32(body)
		}
		if ends(header) && s.ended[id].IsZero() {
			s.ended[id] = time.Now()
		}
		s.mu.Unlock()
	}
}

// over returns how many requests are.
func (s *spoken) over() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ended)
}

// illegal returns how many frames came of requests after those were reset.
func (s *spoken) illegal() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after
}

// told returns how many of the requests that are over were reset with code.
func (s *spoken) told(code uint32) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.codes {
		if one == code {
			n++
		}
	}
	return n
}

func (s *spoken) say(frames ...[]byte) {
	s.t.Helper()
	if _, err := s.Write(bytes.Join(frames, nil)); err != nil {
		s.t.Error(err)
	}
}

func frameOf(kind, flags byte, stream uint32, body []byte) []byte {
	n := len(body)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), body...)
}

// headersOf are those of a request of gRPC.
func headersOf(stream uint32, method string, more ...[2]string) []byte {
	var block []byte
	for _, h := range append([][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	}, more...) {
		block = append(append(append(append(block, 0, byte(len(h[0]))), h[0]...), byte(len(h[1]))), h[1]...)
	}
	return frameOf(frameHeaders, flagEndHeaders, stream, block)
}

// dataOf is the beginning of a message: so many bytes of it come.
func dataOf(stream uint32, message, come int) []byte {
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(message))
	return frameOf(frameData, 0, stream, append(body, make([]byte, come)...))
}

// keeps waits for nothing, and returns how much is kept of all clients.
func (i *inn) keeps() int64 {
	virtual.Wait()
	return i.both.clients.known.all.bytes.Load() + i.both.clients.fresh.all.bytes.Load()
}

// A request of which the message does not come whole is ended in time, however many there are on a connection, whether
// its call has one message or a stream of them, and nothing is kept of it then. One that has come whole waits for its
// answer as long as it likes, and so does a stream on which nothing is said.
func TestMessagesThatDoNotEndAreEnded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		s := i.speak(t)
		const streams, size = 64, 12 << 10
		s.say(headersOf(1, healthpb.Health_Watch_FullMethodName), frameOf(frameData, flagEndStream, 1, make([]byte, 5)))
		s.say(headersOf(3, "/a/stream"))                                           // may say nothing
		s.say(headersOf(5, healthpb.Health_Check_FullMethodName))                  // may not
		s.say(headersOf(7, healthpb.Health_Watch_FullMethodName), dataOf(7, 0, 0)) // nor leave it open how it goes on
		for n := range uint32(streams) {
			id := 9 + 2*n
			s.say(headersOf(id, healthpb.Health_Check_FullMethodName), dataOf(id, size+1, size))
		}
		time.Sleep(bodyTime / 2)
		if kept := i.keeps(); kept < streams*size || kept > streams*(size+8<<10) || s.over() > 0 {
			t.Errorf("%d bytes are kept, %d requests are over", kept, s.over())
		}
		time.Sleep(bodyTime/2 + size/bodyPace*time.Second + 2*time.Second)
		if kept := i.keeps(); kept != 0 || s.over() != streams+2 {
			t.Errorf("%d bytes are kept, %d requests are over", kept, s.over())
		}
		time.Sleep(time.Minute)
		if virtual.Wait(); !s.ended[1].IsZero() || !s.ended[3].IsZero() || s.over() != streams+2 {
			t.Errorf("%d are over: %v", s.over(), s.ended)
		}
		s.say(dataOf(3, 500, 9))
		time.Sleep(bodyTime + 2*time.Second)
		if virtual.Wait(); s.ended[3].IsZero() {
			t.Error("half a message comes for ever on a stream that was quiet")
		}
		if late := i.door.Figures().Refused[door.ReasonLate]; late != streams+3 {
			t.Errorf("%d are counted", late)
		}
		if n := s.told(codeRefused); n != streams+3 { // he may ask again: nothing was done of it
			t.Errorf("%d are told that nothing was done", n)
		}
	})
}

// However the frames of a message are cut or padded, and whether it is taken, left or reset, the books are even.
func TestNothingIsKeptOfWhatIsTaken(t *testing.T) {
	for step := 1; step < 40; step++ {
		s := &sink{}
		at := &clients{}
		c := newLeavable(s, at)
		c.requests.begin = func() func() { return func() {} }
		hear := func(text []byte) {
			s.Buffer.Reset()
			s.Buffer.Write(text)
			for s.Buffer.Len() > 0 || len(c.unread) > 0 {
				c.Read(make([]byte, step))
			}
		}
		padded := frameOf(frameData, flagPadded, 1, append([]byte{3, 0, 0, 0, 0, 4, 9, 9, 9, 9}, 1, 2, 3))
		hear(append(bytes.Clone(preface), headersOf(1, "/a")...))
		one := c.requests.opens(false, 0)
		hear(padded)
		hear(dataOf(1, 300, 200))
		hear(frameOf(frameData, 0, 1, append(make([]byte, 100), 0, 0, 0)))
		mine := c.requests.bytes.Load()
		if n := len(one.whole); n != 2 || !one.comes() || at.fresh.all.bytes.Load() != mine || mine == 0 {
			t.Fatalf("steps of %d: %d messages, %d bytes of %d", step, n, mine, at.fresh.all.bytes.Load())
		}
		one.took()
		one.took()
		hear(frameOf(frameData, 0, 1, []byte{0, 0}))
		if n := len(one.whole); n != 1 || one.comes() {
			t.Fatalf("steps of %d: %d messages", step, n)
		}
		one.took()
		if at.fresh.all.bytes.Load() != 0 || at.fresh.clients.Load() != 0 {
			t.Fatalf("steps of %d: %d bytes of %d", step, at.fresh.all.bytes.Load(), at.fresh.clients.Load())
		}
		for id := uint32(3); id < 7; id += 2 {
			hear(headersOf(id, "/a"))
			hear(dataOf(id, 300, 200)) // gRPC has not opened it, and keeps nothing
			c.requests.opens(false, 0)
			hear(dataOf(id, 300, 200))
		}
		hear(frameOf(frameReset, 0, 3, make([]byte, 4)))
		if kept := at.fresh.all.bytes.Load(); kept != held(205) {
			t.Fatalf("steps of %d: %d bytes are left", step, kept)
		}
		c.Write(framesOf([3]byte{frameHeaders, flagEndStream, 5}))
		if kept := at.fresh.all.bytes.Load(); kept != 0 {
			t.Fatalf("steps of %d: %d bytes are left", step, kept)
		}
		hear(dataOf(1, 300, 200))
		c.requests.leave()
		one.took()
		if at.fresh.all.bytes.Load() != 0 || at.fresh.clients.Load() != 0 {
			t.Fatalf("steps of %d: %d bytes of %d", step, at.fresh.all.bytes.Load(), at.fresh.clients.Load())
		}
	}
}

// Messages that share a slow connection are in time as long as that one is, though each of them is not.
func TestMessagesThatShareASlowConnectionAreInTime(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		s := i.speak(t)
		const streams, size, part = 64, 64 << 10, 1 << 10
		for n := range uint32(streams) {
			id := 1 + 2*n
			s.say(headersOf(id, healthpb.Health_Check_FullMethodName), dataOf(id, size, 0))
		}
		for come := 0; come < size; come += part { // 64 KiB in three seconds: not much faster than the slowest
			for n := range uint32(streams) {
				time.Sleep(3 * time.Second / streams)
				s.say(frameOf(frameData, 0, 1+2*n, make([]byte, part)))
			}
		}
		for n := range uint32(streams) {
			s.say(frameOf(frameData, flagEndStream, 1+2*n, nil))
		}
		if virtual.Wait(); s.over() != streams || i.door.Figures().Refused[door.ReasonLate] != 0 {
			t.Errorf("%d are over, %+v", s.over(), i.door.Figures())
		}
	})
}

// A client whose requests come whole is served, as fast as he likes, beside one of whom nothing more is heard, and
// large ones come through where the connection is slow.
func TestASlowClientIsServed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		s := i.speak(t)
		const size, part = 1 << 20, 16 << 10 // a second each: twice as fast as the slowest
		s.say(headersOf(1, healthpb.Health_Check_FullMethodName), dataOf(1, size, 0))
		for come := 0; come < size; come += part {
			time.Sleep(time.Second)
			s.say(frameOf(frameData, 0, 1, make([]byte, part)))
		}
		time.Sleep(bodyTime / 2) // the word that this was all comes late
		s.say(frameOf(frameData, flagEndStream, 1, nil))
		if virtual.Wait(); s.over() != 1 || i.door.Figures().Refused[door.ReasonLate] != 0 {
			t.Errorf("%d are over, %+v", s.over(), i.door.Figures())
		}
		check := healthpb.NewHealthClient(i.client)
		for range 100 {
			if _, err := check.Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
