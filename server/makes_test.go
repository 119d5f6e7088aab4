package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// habits are what a client of a make does beside what it is told to, as it was seen of that make.
type habits struct {
	settings []byte // that it begins with, identities and values
	window   uint32 // by which it enlarges that of the connection at once
	half     int    // bytes after which it enlarges windows; 0: it does so for each frame
	small    int    // frames of few bytes among those of a message of a MiB
	measures bool   // it pings when data comes, one at a time
	leaves   []byte // what comes before the reset of a request that it gives up, but for its stream
}

// h2Setting is one of HTTP/2 on the wire.
func h2Setting(id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
}

// makes are those of gRPC in Java on netty, in C++ and what stands on that, and in JavaScript on nghttp2.
var makes = map[string]habits{
	"netty": {
		settings: bytes.Join([][]byte{h2Setting(2, 0), h2Setting(3, 0), h2Setting(4, 1<<20), h2Setting(6, 8<<10)}, nil),
		window:   1<<20 - 65535, half: 1 << 19, measures: true, small: 12,
	},
	"C++": {
		settings: bytes.Join([][]byte{
			h2Setting(2, 0), h2Setting(3, 0), h2Setting(4, 4<<20), h2Setting(5, 4<<20), h2Setting(6, 16<<10),
			h2Setting(0xfe03, 1),
		}, nil),
		window: 4<<20 - 65535, measures: true,
	},
	"JavaScript": {
		settings: bytes.Join([][]byte{h2Setting(2, 0), h2Setting(4, 256<<10)}, nil),
		window:   256 << 10, half: 32 << 10, leaves: frameOf(frameData, flagEndStream, 0, nil)[:5],
	},
}

// made is a client of a make, which answers what it hears at once. What it says waits for nobody.
type made struct {
	net.Conn
	habits

	mu       sync.Mutex
	more     *sync.Cond
	unsaid   []byte
	closed   bool
	answers  int // messages that came
	over     int // requests that are
	away     bool
	measured bool // a ping is under way
	untold   int  // bytes of data since the last window
}

func (i *inn) made(t *testing.T, h habits) *made {
	t.Helper()
	c, err := i.street.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := &made{Conn: c, habits: h}
	m.more = sync.NewCond(&m.mu)
	t.Cleanup(m.leave)
	go m.speak()
	go m.listen()
	m.say(preface, frameOf(frameSettings, 0, 0, h.settings), windowOf(0, h.window))
	return m
}

func windowOf(stream, by uint32) []byte {
	return frameOf(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, by))
}

func (m *made) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.more.Broadcast()
	m.Close()
}

func (m *made) say(frames ...[]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue(frames...)
}

// queue is say with mu held.
func (m *made) queue(frames ...[]byte) {
	m.unsaid = append(m.unsaid, bytes.Join(frames, nil)...)
	m.more.Broadcast()
}

func (m *made) speak() {
	for {
		m.mu.Lock()
		for len(m.unsaid) == 0 && !m.closed {
			m.more.Wait()
		}
		text, closed := m.unsaid, m.closed
		m.unsaid = nil
		m.mu.Unlock()
		if closed {
			return
		}
		if _, err := m.Write(text); err != nil {
			return
		}
	}
}

func (m *made) listen() {
	for header := ([frameHeaderBytes]byte{}); ; {
		if _, err := io.ReadFull(m, header[:]); err != nil {
			return
		}
		body := make([]byte, lengthOf(header))
		if _, err := io.ReadFull(m, body); err != nil {
			return
		}
		m.mu.Lock()
		m.hear(header, body)
		m.mu.Unlock()
	}
}

// hear does what its make does at a frame. mu is held.
func (m *made) hear(header [frameHeaderBytes]byte, body []byte) {
	const ack, frameAway = 1, 7
	if ends(header) {
		m.over++
	}
	switch kind, id := header[3], streamOf(header); {
	case kind == frameSettings && header[4]&ack == 0:
		m.queue(frameOf(frameSettings, ack, 0, nil))
	case kind == framePing && header[4]&ack == 0:
		m.queue(frameOf(framePing, ack, 0, body))
	case kind == framePing:
		m.measured = false
	case kind == frameAway:
		m.away = true
	case kind == frameData:
		m.answers++
		m.takes(id, len(body))
	}
}

// takes enlarges windows for data that came, as its make does. mu is held.
func (m *made) takes(id uint32, n int) {
	if m.measures && !m.measured {
		m.measured = true
		m.queue(frameOf(framePing, 0, 0, make([]byte, 8)))
	}
	m.untold += n
	if m.half > 0 && m.untold < m.half {
		return
	}
	m.queue(windowOf(id, uint32(max(1, n))), windowOf(0, uint32(max(1, m.untold))))
	m.untold = 0
}

// cancels has requests given up.
func (m *made) cancels(from, to uint32) {
	for id := from; id < to; id += 2 {
		if len(m.leaves) > 0 {
			m.say(binary.BigEndian.AppendUint32(bytes.Clone(m.leaves), id))
		}
		m.say(frameOf(frameReset, 0, id, []byte{0, 0, 0, 8}))
	}
}

// put has a message of a MiB taken, in frames as its make makes them.
func (m *made) put(id uint32) {
	const size, frame = 1<<20 - 64, 16 << 10 // less than a window
	body := binary.AppendUvarint(append(binary.BigEndian.AppendUint32([]byte{0}, size), 10), size-4)
	body = append(body, make([]byte, size+messagePrefix-len(body))...)
	m.say(headersOf(id, "/a/take"))
	for n := 0; len(body) > 0; n++ {
		part := min(frame, len(body))
		if n%(64/max(1, m.small)) == 0 && m.small > 0 {
			part = min(9, part)
		}
		last := byte(0)
		if part == len(body) {
			last = flagEndStream
		}
		m.say(frameOf(frameData, last, id, body[:part]))
		body = body[part:]
	}
}

// has returns when so many messages have come and requests are over, which takes no time.
func (m *made) has(t *testing.T, what string, answers, over int) {
	t.Helper()
	began := time.Now()
	for range 200 {
		virtual.Wait()
		m.mu.Lock()
		done := m.answers >= answers && m.over >= over
		m.mu.Unlock()
		if done {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if took := time.Since(began); took > 0 || m.away {
		t.Errorf("%s: took %s, asked to go away: %t; %d answers, %d over", what, took, m.away, m.answers, m.over)
	}
}

// Clients of other makes than Go's are held up by nothing of what they have to do: hundreds of watches on which nothing
// comes, and which are given up at once; a thousand leases, kept once in a while; a thousand requests at once; and
// large ones.
func TestClientsOfOtherMakesAreHeardAtOnce(t *testing.T) {
	message := []byte{0, 0, 0, 0, 4, 10, 2, 'i', 'd'}
	empty := make([]byte, messagePrefix)
	for name, h := range makes {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				i := newInnFor(t, 8)
				const many, held = 500, 1000

				watches := i.made(t, h)
				for n := range uint32(many) {
					watches.say(headersOf(1+2*n, "/a/echo"), frameOf(frameData, 0, 1+2*n, message))
				}
				watches.has(t, "watches", many, 0)
				for range 30 { // as those that ask whether the node is there
					time.Sleep(10 * time.Second)
					watches.say(frameOf(framePing, 0, 0, make([]byte, 8)))
				}
				watches.cancels(1, 2*many)
				watches.say(headersOf(2*many+1, healthpb.Health_Check_FullMethodName),
					frameOf(frameData, flagEndStream, 2*many+1, empty))
				watches.has(t, "a request after watches were given up", many+1, 1)

				leases := i.made(t, h)
				leases.say(headersOf(1, "/a/echo"))
				for round := range 4 {
					leases.say(bytes.Repeat(frameOf(frameData, 0, 1, message), held))
					leases.has(t, "leases", held*(round+1), 0)
					time.Sleep(3 * time.Second)
				}

				burst := i.made(t, h)
				for n := range uint32(2 * many) {
					burst.say(headersOf(1+2*n, healthpb.Health_Check_FullMethodName),
						frameOf(frameData, flagEndStream, 1+2*n, empty))
				}
				burst.has(t, "requests at once", 2*many, 2*many)

				large := i.made(t, h)
				for n := range 4 + h.small { // enough to see the budget of a client used up
					large.put(uint32(1 + 2*n))
					large.has(t, "a large request", n+1, n+1)
				}

				for reason, n := range i.door.Figures().Refused {
					if n > 0 {
						t.Errorf("%d are refused something: %s", n, reason)
					}
				}
			})
		})
	}
}
