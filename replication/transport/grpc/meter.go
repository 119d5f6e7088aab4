package grpctransport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/mimir-kv/mimir/replication/transport"
)

// What one node may have others keep for it: bytes of messages that it has sent and that no handler has taken, on all
// of its connections together, and streams. An honest one stays far below. A connection that goes beyond the first is
// ended, a stream beyond the second refused.
const (
	memberBytes   = 8 * transport.MaxMessageBytes
	memberStreams = 2 * maxStreams
	// tellEvery is how often the log is told of it.
	tellEvery = 10 * time.Second
)

// kept returns how many bytes one node may have this one keep: what the windows of a few connections allow is no hoard.
func (o *Options) kept() int64 {
	return cmp.Or(o.memberBytes, max(memberBytes, 8*int64(o.WindowBytes)))
}

var (
	errHoards      = errors.New("it has sent more than is taken of it")
	errManyStreams = fmt.Errorf("%w: it has %d streams open", transport.ErrUnreachable, memberStreams)
)

// messagePrefix is how many bytes come before each message: a flag, and its length.
const messagePrefix = int64(5)

// member is a node of a fleet.
type member struct {
	fleet string
	transport.Caller
}

// ledger is what one node has others keep. It lives as long as a stream of its does, or a connection that had one.
type ledger struct {
	bytes   int64
	streams int
	meters  int
}

// ledgers are those of all nodes.
type ledgers struct {
	logger *slog.Logger
	most   int64 // bytes of each

	mu   sync.Mutex
	of   map[member]*ledger
	told time.Time
}

// metered are credentials whose accepted connections count what they carry.
type metered struct {
	credentials.TransportCredentials
	all *ledgers
}

// meterInfo is the meter of a connection.
type meterInfo struct {
	credentials.AuthInfo
	meter *meter
}

// meter counts the bytes of messages of a connection that were read of it and not taken yet, by stream.
type meter struct {
	net.Conn
	all    *ledgers
	raw    net.Conn // below the credentials
	tuning sync.Once

	// Of the goroutine that reads.
	in     frames
	before stranger // what was said before a stream was admitted
	rest   []byte   // was read, and is to be heard next
	failed error    // behind the rest

	mu      sync.Mutex // before that of the ledgers
	out     frames
	opened  uint32 // the stream of the headers that were heard last
	kept    map[uint32]*kept
	bytes   int64 // of all of them
	streams int   // that belong to the caller
	caller  member
	ledger  *ledger // nil before the first of those
	gone    bool

	known    atomic.Bool // a stream was admitted
	settling sync.Once
	settled  chan struct{} // closed with the first stream that is admitted, or the connection
}

func newMeter(c, raw net.Conn, all *ledgers) *meter {
	return &meter{Conn: c, raw: raw, all: all, in: frames{skip: prefaceBytes}, settled: make(chan struct{})}
}

// ServerHandshake implements credentials.TransportCredentials.
func (m metered) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := m.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return c, info, err
	}
	one := newMeter(c, raw, m.all)
	return &gathered{meter: one}, meterInfo{info, one}, nil
}

// Clone implements credentials.TransportCredentials.
func (m metered) Clone() credentials.TransportCredentials {
	return metered{m.TransportCredentials.Clone(), m.all}
}

// Read implements net.Conn. It ends behind the headers of a stream, so that gRPC has opened the stream before more is
// heard.
func (m *meter) Read(p []byte) (int, error) {
	held := len(m.rest) > 0
	var n int
	var err error
	switch {
	case held:
		n = copy(p, m.rest)
	case m.failed != nil:
		return 0, m.failed
	default:
		n, err = m.Conn.Read(p[:m.most(len(p))])
	}
	m.mu.Lock()
	heard, frames, data := m.hear(p[:n])
	refused, who := m.add(data), m.caller
	m.mu.Unlock()
	if who == (member{}) {
		m.pause(m.before.hear(frames))
	}
	switch {
	case refused != nil:
		m.all.tell(who, m.RemoteAddr())
		return 0, refused
	case held:
		m.rest = m.rest[heard:]
	case heard < n:
		m.rest, m.failed, err = bytes.Clone(p[heard:n]), err, nil
	}
	return heard, err
}

// pause returns after d, or as soon as it is settled whether this is a node.
func (m *meter) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.settled:
	}
}

func (m *meter) settle() { m.settling.Do(func() { close(m.settled) }) }

// most returns how many of n bytes are to be read.
func (m *meter) most(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.caller == (member{}) {
		n = min(n, m.before.most())
	}
	return n
}

// hear follows the frames in what was read up to the end of headers, and returns how many bytes that are, how many
// frames begin there, each of strangerFrame bytes, and how many of the bytes are of messages. mu is held.
func (m *meter) hear(p []byte) (n, frames int, data int64) {
	for n < len(p) {
		more, what := m.in.next(p[n:])
		n += more
		kind := m.in.kind()
		k := m.kept[m.in.stream()]
		if what == partHeader {
			frames += 1 + m.in.left/strangerFrame
		}
		switch {
		case what == partBody && kind == frameData && k != nil && !k.reset:
			k.bytes += int64(more)
			data += int64(more)
		case what == partHeader && kind == frameHeaders:
			m.opened = m.in.stream()
		case what == partHeader && kind == frameReset && k != nil:
			k.end()
		}
		if what != partOther && m.in.ended() && (kind == frameHeaders || kind == frameContinuation) {
			break
		}
	}
	return n, frames, data
}

// Write implements net.Conn.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	for said := p[:n]; len(said) > 0; {
		more, what := m.out.next(said)
		said = said[more:]
		k := m.kept[m.out.stream()]
		if what != partHeader || k == nil {
			continue
		}
		switch kind := m.out.kind(); {
		case kind == frameReset:
			k.end()
		case m.out.ends() && (kind == frameHeaders || kind == frameData):
			k.drop()
		}
	}
	return n, err
}

// add counts bytes, less than none if they were taken. mu is held.
func (m *meter) add(n int64) error {
	m.bytes += n
	if m.ledger == nil {
		return nil
	}
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	if m.ledger.bytes += n; n > 0 && m.ledger.bytes > m.all.most {
		return errHoards
	}
	return nil
}

// begin counts a stream of caller, to whom the connection belongs if it is its first. end is to be called with it.
func (m *meter) begin(caller member) (end func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	if m.ledger == nil {
		m.caller, m.ledger = caller, m.all.of[caller]
		if m.ledger == nil {
			m.ledger = &ledger{}
			m.all.of[caller] = m.ledger
		}
		m.ledger.meters++
		m.ledger.bytes += m.bytes
	}
	if m.ledger.streams >= memberStreams {
		m.leave()
		return nil, errManyStreams
	}
	m.ledger.streams++
	m.streams++
	m.known.Store(true)
	m.settle()
	return m.endStream, nil
}

func (m *meter) endStream() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.ledger.streams--
	m.streams--
	m.leave()
}

// leave lets go of the ledger of a connection that has closed, when its last stream has ended.
func (m *meter) leave() {
	if !m.gone || m.streams > 0 || m.ledger == nil {
		return
	}
	m.ledger.bytes -= m.bytes
	if m.ledger.meters--; m.ledger.meters == 0 {
		delete(m.all.of, m.caller)
	}
	for _, k := range m.kept {
		k.bytes = 0
	}
	m.ledger, m.bytes = nil, 0
}

// Close implements net.Conn.
func (m *meter) Close() error {
	m.settle()
	m.mu.Lock()
	m.all.mu.Lock()
	m.gone = true
	m.leave()
	m.all.mu.Unlock()
	m.mu.Unlock()
	return m.Conn.Close()
}

// tell tells the log, not too often.
func (l *ledgers) tell(who member, from net.Addr) {
	l.mu.Lock()
	now := time.Now()
	quiet := now.Sub(l.told) < tellEvery
	if !quiet {
		l.told = now
	}
	l.mu.Unlock()
	if !quiet {
		l.logger.Warn("a node has sent more than is taken of it: its connection ends", "fleet", who.fleet,
			"node", who.Node, "region", who.Region, "from", from.String(), "bytes", l.most)
	}
}
