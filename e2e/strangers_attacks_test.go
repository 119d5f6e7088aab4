package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// stranger is somebody at a port who does what he can there for a while.
type stranger struct {
	name string
	// where lists the ports: client, peer, http, witness; http speaks TLS.
	where []string
	do    func(s *visit)
}

// visit is one connection of a stranger, already made.
type visit struct {
	net.Conn
	ctx    context.Context
	random *rand.Rand
}

var (
	everywhere = []string{"client", "peer", "http", "witness"}
	overHTTP2  = []string{"client", "peer", "witness"}
)

// strangers are the attacks.
var strangers = []stranger{
	{"random bytes", everywhere, func(s *visit) {
		s.Write(s.bytes(1 + s.random.IntN(64<<10)))
		s.linger()
	}},
	{"nothing at all", everywhere, func(s *visit) { s.linger() }},
	{"a half TLS greeting", everywhere, func(s *visit) {
		s.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
		s.Write(s.bytes(s.random.IntN(400)))
		s.linger()
	}},
	{"a record of TLS too many", []string{"http"}, func(s *visit) {
		for s.ctx.Err() == nil {
			if _, err := s.Write(append([]byte{22, 3, 3, 0x40, 0}, s.bytes(0x4000)...)); err != nil {
				return
			}
		}
	}},
	{"handshakes and no request", []string{"http"}, func(s *visit) {
		tls.Client(s, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(s.ctx)
		s.linger()
	}},
	{"slow headers", []string{"client"}, func(s *visit) {
		io.WriteString(s, "GET /health HTTP/1.1\r\nHost: x\r\n")
		s.drip("X-Slow: 1\r\n")
	}},
	{"a slow body", []string{"client"}, func(s *visit) {
		io.WriteString(s, "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
			"Content-Length: 1000000\r\n\r\n{")
		s.drip(" ")
	}},
	{"headers without end", []string{"client"}, func(s *visit) {
		io.WriteString(s, "GET /health HTTP/1.1\r\nHost: x\r\n")
		for s.ctx.Err() == nil {
			if _, err := fmt.Fprintf(s, "X-%d: %s\r\n", s.random.Uint32(), strings.Repeat("a", 4000)); err != nil {
				return
			}
		}
	}},
	{"JSON bombs", []string{"client"}, func(s *visit) {
		for _, body := range []string{
			strings.Repeat("[", 500_000), strings.Repeat(`{"success":[{"requestTxn":`, 40_000),
			`{"key":` + strings.Repeat("9", 500_000) + `}`, `{"key":"` + strings.Repeat(`\u0000`, 90_000) + `"}`,
		} {
			fmt.Fprintf(s, "POST /v3/kv/txn HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
				"Content-Length: %d\r\n\r\n%s", len(body), body)
		}
		s.hear()
	}},
	{"a body without end", []string{"client"}, func(s *visit) {
		io.WriteString(s, "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		for s.ctx.Err() == nil {
			if _, err := fmt.Fprintf(s, "%x\r\n%s\r\n", 32<<10, strings.Repeat(" ", 32<<10)); err != nil {
				return
			}
		}
	}},
	{"HTTP/2 cut short", overHTTP2, func(s *visit) {
		all := append(greeting(), bytes.Repeat(frame(1, 4, 1, request("/x/y")), 3)...)
		s.Write(all[:s.random.IntN(len(all))])
		s.linger()
	}},
	{"random frames", overHTTP2, func(s *visit) {
		s.Write(greeting())
		for s.ctx.Err() == nil && s.flood(frame(byte(s.random.IntN(12)), byte(s.random.Uint32()),
			s.random.Uint32()%8, s.bytes(s.random.IntN(300))), 1) {
		}
	}},
	{"rapid reset", overHTTP2, func(s *visit) {
		s.Write(greeting())
		for id := uint32(1); s.ctx.Err() == nil; id += 2 {
			one := append(frame(1, 4, id, request("/etcdserverpb.KV/Range")), frame(3, 0, id, []byte{0, 0, 0, 8})...)
			if _, err := s.Write(one); err != nil {
				return
			}
		}
	}},
	{"streams that say nothing", overHTTP2, func(s *visit) {
		s.Write(greeting())
		for id := uint32(1); id < 20_000 && s.ctx.Err() == nil; id += 2 {
			if _, err := s.Write(frame(1, 4, id, request("/etcdserverpb.Watch/Watch"))); err != nil {
				return
			}
		}
		s.linger()
	}},
	{"pings", overHTTP2, func(s *visit) { s.floods(frame(6, 0, 0, make([]byte, 8))) }},
	{"settings", overHTTP2, func(s *visit) { s.floods(frame(4, 0, 0, []byte{0, 4, 0, 0, 0xff, 0xff})) }},
	{"empty data", overHTTP2, func(s *visit) {
		s.Write(append(greeting(), frame(1, 4, 1, request("/etcdserverpb.Watch/Watch"))...))
		for s.ctx.Err() == nil && s.flood(frame(0, 0, 1, nil), 500) {
		}
	}},
	{"continuations", overHTTP2, func(s *visit) {
		s.Write(append(greeting(), frame(1, 0, 1, request("/etcdserverpb.KV/Range"))...))
		more := frame(9, 0, 1, bytes.Repeat(literal("x", strings.Repeat("a", 100)), 150))
		for s.ctx.Err() == nil && s.flood(more, 10) {
		}
	}},
	{"an HPACK bomb", overHTTP2, func(s *visit) {
		s.Write(greeting())
		// One header of 4,000 bytes goes into the table, and is then named by one byte, again and again.
		block := append([]byte{0x40}, literal("bomb", strings.Repeat("a", 126))[1:]...)
		block = append(request("/etcdserverpb.KV/Range"), append(block, bytes.Repeat([]byte{0xbe}, 15_000)...)...)
		for id := uint32(1); s.ctx.Err() == nil; id += 2 {
			if _, err := s.Write(frame(1, 4, id, block)); err != nil {
				return
			}
		}
	}},
	{"a message of four gigabytes", overHTTP2, func(s *visit) {
		s.Write(append(greeting(), frame(1, 4, 1, request("/etcdserverpb.KV/Range"))...))
		s.Write(frame(0, 0, 1, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3}))
		s.linger()
	}},
	{"messages of too many bytes", []string{"client"}, func(s *visit) {
		s.Write(greeting())
		for id := uint32(1); s.ctx.Err() == nil && id < 200; id += 2 {
			s.Write(frame(1, 4, id, request("/etcdserverpb.KV/Put")))
			head := binary.BigEndian.AppendUint32([]byte{0}, 64<<20)
			if _, err := s.Write(frame(0, 0, id, append(head, s.bytes(8000)...))); err != nil {
				return
			}
		}
		s.linger()
	}},
	{"garbage in valid requests", []string{"client"}, func(s *visit) {
		s.Write(greeting())
		for id := uint32(1); s.ctx.Err() == nil && id < 4000; id += 2 {
			method := garbled[s.random.IntN(len(garbled))]
			body := s.bytes(s.random.IntN(200))
			head := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
			one := append(frame(1, 4, id, request(method)), frame(0, 1, id, append(head, body...))...)
			if _, err := s.Write(one); err != nil {
				return
			}
		}
		s.hear()
	}},
	{"answers that nobody reads", []string{"client"}, func(s *visit) {
		s.Write(greeting())
		body := []byte{10, 1, 0, 18, 1, 0} // the range of everything
		head := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
		for id := uint32(1); id < 400; id += 2 {
			if _, err := s.Write(append(frame(1, 4, id, request("/etcdserverpb.KV/Range")),
				frame(0, 1, id, append(head, body...))...)); err != nil {
				return
			}
		}
		s.linger()
	}},
	{"nodes of another fleet", []string{"peer", "witness"}, func(s *visit) {
		s.Write(greeting())
		block := append(request("/mimir/raft/1"), literal("mimir-fleet-bin", "eA")...)
		for id := uint32(1); s.ctx.Err() == nil; id += 2 {
			if _, err := s.Write(frame(1, 5, id, block)); err != nil {
				return
			}
		}
	}},
	{"half a fleet key", []string{"peer", "witness"}, func(s *visit) {
		io.WriteString(s, "MIMIRKEY")
		s.Write(s.bytes(s.random.IntN(80)))
		s.linger()
	}},
}

// garbled are methods that get garbage: such that change nothing if it happens to make sense, and no operators' calls,
// each of which is to be in the audit log.
var garbled = []string{
	"/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseTimeToLive",
	"/etcdserverpb.Lease/LeaseKeepAlive", "/etcdserverpb.Maintenance/Status",
	"/etcdserverpb.Cluster/MemberList", "/grpc.health.v1.Health/Watch", "/etcdserverpb.No/Such",
}

func (s *visit) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return b
}

// linger stays until it is thrown out, or the time is over.
func (s *visit) linger() { io.Copy(io.Discard, s) }

// hear reads for a moment.
func (s *visit) hear() {
	s.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	s.linger()
}

// drip writes text again and again, slowly.
func (s *visit) drip(text string) {
	for s.ctx.Err() == nil {
		if _, err := io.WriteString(s, text); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// floods opens an HTTP/2 connection and writes one frame as often as it can.
func (s *visit) floods(one []byte) {
	s.Write(greeting())
	for s.ctx.Err() == nil && s.flood(one, 500) {
	}
}

func (s *visit) flood(one []byte, times int) bool {
	_, err := s.Write(bytes.Repeat(one, times))
	return err == nil
}

// greeting begins a connection of HTTP/2.
func greeting() []byte {
	return append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, nil)...)
}

func frame(kind, flags byte, stream uint32, body []byte) []byte {
	head := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), body...)
}

// literal is a header that goes into no table; names and values are shorter than 127 bytes.
func literal(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}

// request is the block of headers of a gRPC call.
func request(method string) []byte {
	return bytes.Join([][]byte{
		literal(":method", "POST"), literal(":scheme", "http"), literal(":path", method), literal(":authority", "x"),
		literal("content-type", "application/grpc"), literal("te", "trailers"),
	}, nil)
}
