package grpctransport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
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

var (
	errHoards           = errors.New("it has sent more than is taken of it")
	errManyStreams      = fmt.Errorf("%w: it has %d streams open", transport.ErrUnreachable, memberStreams)
	prefaceBytes        = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	messagePrefix       = int64(5) // of each message: a flag, and its length
	frameHead           = 9
	frameData      byte = 0
)

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
	of   map[transport.Caller]*ledger
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

// meter counts the bytes of messages of a connection that were read of it and not taken yet. A stream that ends with
// some of a message leaves them counted; when no stream is left the count begins anew.
type meter struct {
	net.Conn
	all *ledgers

	// Of the goroutine that reads.
	skip, left int
	header     [9]byte
	have       int

	mu      sync.Mutex // before that of the ledgers
	bytes   int64
	streams int
	caller  transport.Caller
	ledger  *ledger // nil before the first stream
	gone    bool
}

// ServerHandshake implements credentials.TransportCredentials.
func (m metered) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := m.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return c, info, err
	}
	one := &meter{Conn: c, all: m.all, skip: prefaceBytes}
	return one, meterInfo{info, one}, nil
}

// Clone implements credentials.TransportCredentials.
func (m metered) Clone() credentials.TransportCredentials {
	return metered{m.TransportCredentials.Clone(), m.all}
}

// Read implements net.Conn.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if data := m.hear(p[:n]); data > 0 {
		if more := m.add(data); more != nil {
			m.all.tell(m.caller, m.RemoteAddr())
			return 0, more
		}
	}
	return n, err
}

// hear follows the frames in what was read, and returns how many bytes of messages are in it.
func (m *meter) hear(p []byte) (data int64) {
	n := min(m.skip, len(p))
	m.skip, p = m.skip-n, p[n:]
	for len(p) > 0 {
		if m.left > 0 {
			n := min(m.left, len(p))
			if m.header[3] == frameData {
				data += int64(n)
			}
			m.left, p = m.left-n, p[n:]
			continue
		}
		n := copy(m.header[m.have:], p)
		m.have, p = m.have+n, p[n:]
		if m.have == frameHead {
			m.have, m.left = 0, int(binary.BigEndian.Uint32(append([]byte{0}, m.header[:3]...)))
		}
	}
	return data
}

// add counts bytes, less than none if they were taken.
func (m *meter) add(n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = max(n, -m.bytes) // what came in before the count began anew
	m.bytes += n
	if m.ledger == nil || m.gone {
		return nil
	}
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	if m.ledger.bytes += n; n > 0 && m.ledger.bytes > m.all.most {
		return errHoards
	}
	return nil
}

// took says that a message of so many bytes was taken.
func (m *meter) took(n int) {
	if m != nil {
		_ = m.add(-int64(n) - messagePrefix) // which refuses nothing
	}
}

// begin counts a stream of caller, to whom the connection belongs if it is its first. end is to be called with it.
func (m *meter) begin(caller transport.Caller) (end func(), err error) {
	if m == nil {
		return func() {}, nil
	}
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
		return nil, errManyStreams
	}
	m.ledger.streams++
	m.streams++
	return m.end, nil
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.ledger.streams--
	if m.streams--; m.streams == 0 {
		m.ledger.bytes -= m.bytes
		m.bytes = 0
	}
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
	m.ledger, m.bytes = nil, 0
}

// Close implements net.Conn.
func (m *meter) Close() error {
	m.mu.Lock()
	m.all.mu.Lock()
	m.gone = true
	m.leave()
	m.all.mu.Unlock()
	m.mu.Unlock()
	return m.Conn.Close()
}

// tell tells the log, not too often.
func (l *ledgers) tell(who transport.Caller, from net.Addr) {
	l.mu.Lock()
	now := time.Now()
	quiet := now.Sub(l.told) < tellEvery
	if !quiet {
		l.told = now
	}
	l.mu.Unlock()
	if !quiet {
		l.logger.Warn("a node has sent more than is taken of it: its connection ends", "node", who.Node,
			"region", who.Region, "from", from.String(), "bytes", l.most)
	}
}
