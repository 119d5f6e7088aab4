package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc/test/bufconn"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/replays"
)

// newReplays returns what replays tails on this node, nil if there is no engine. The node is asked as handler answers.
func newReplays(s *server, handler http.Handler) *replays.Runner {
	if s.engine == nil {
		return nil
	}
	asked := newInside(s.config, sound(handler, s.logger))
	return replays.New(replays.Options{
		Engine: surviving{s.engine, s.logger}, Node: s.config.Replication.NodeID,
		Means: func(r *http.Request) (*replays.Means, error) { return meansOf(s, asked, r) },
		Primary: func() (string, replication.Epoch) {
			h := s.replicator.Health()
			return h.Primary, h.Epoch
		},
		Ended: func(by, what string, epoch replication.Epoch, err error) {
			o := &replication.Order{Op: "tail replay", What: what, By: by}
			if err != nil {
				o.Err = err.Error()
			}
			s.events.Add(replication.Event{
				Kind: replication.EventOrdered, Region: s.config.Replication.RegionID, Order: o, Epoch: epoch,
			})
		},
	})
}

// surviving is an engine of which a panic ends the replay and not the node.
type surviving struct {
	replays.Engine
	logger *slog.Logger
}

// Replay implements replays.Engine.
func (e surviving) Replay(
	ctx context.Context, m *replays.Means, tail string, dry bool, to replays.Teller,
) (err error) {
	defer survive(e.logger, "the replay of a tail", &err)
	return e.Engine.Replay(ctx, m, tail, dry, to)
}

// memoryBytes is the size of the buffer of a connection in memory.
const memoryBytes = 256 << 10

// meansOf returns what whoever makes a request replays with: this node and the others, asked with what he shows, and
// the etcd API of this node over a connection in memory on which he is who he is on his own.
func meansOf(s *server, asked *inside, r *http.Request) (*replays.Means, error) {
	client, err := admin.NewClient([]string{"http://" + thisNode}, nil)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if client = client.Through(&behalf{inside: asked, caller: r}); token != "" {
		client = client.WithToken(token)
	}
	bounds := s.config.Limits
	m := &memory{Listener: bufconn.Listen(memoryBytes), caller: r}
	var served sync.Once
	stop := func() {}
	return &replays.Means{
		Admin: client, Token: token, MaxOps: cmp.Or(bounds.TxnOps, etcdapi.DefaultTxnOps),
		MaxBytes: cmp.Or(bounds.RequestBytes, etcdapi.DefaultRequestBytes),
		Dial: func(ctx context.Context) (net.Conn, error) {
			served.Do(func() {
				server := newRPC(s)
				go server.Serve(m) //nolint:errcheck // it ends with Stop
				stop = server.Stop
			})
			return m.DialContext(ctx)
		},
		Close: func() {
			served.Do(func() {}) // from here on nobody begins
			stop()
			m.Close()
		},
	}, nil
}

// memory accepts connections in memory on which the client is who made a request.
type memory struct {
	*bufconn.Listener
	caller *http.Request
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	one := &remembered{Conn: c, from: from(m.caller.RemoteAddr)}
	if m.caller.TLS == nil {
		return one, nil
	}
	return &shownConn{one, m.caller.TLS}, nil
}

// from is the address of a client of a connection in memory.
type from string

// Network implements net.Addr.
func (from) Network() string { return "memory" }

func (f from) String() string { return string(f) }

// remembered is a connection in memory that has the address of its client.
type remembered struct {
	net.Conn
	from from
}

// RemoteAddr implements net.Conn.
func (r *remembered) RemoteAddr() net.Addr { return r.from }

// shownConn tells what the client showed on the connection of his request, as one with TLS of its own would.
type shownConn struct {
	net.Conn
	state *tls.ConnectionState
}

// ConnectionState is for operator.Credentials.
func (s *shownConn) ConnectionState() tls.ConnectionState { return *s.state }

// behalf asks as [inside] does on behalf of whoever made a request: this node sees his connection, and answers as it is
// read, so that what is large is not held.
type behalf struct {
	*inside
	caller *http.Request
}

// RoundTrip implements http.RoundTripper. What was shown over TLS is shown to nobody without.
func (b *behalf) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.own[r.URL.Host] {
		return b.answerAsRead(r)
	}
	if b.caller.TLS != nil && r.URL.Scheme != "https" && r.Header.Get("Authorization") != "" {
		r = r.Clone(r.Context())
		r.Header.Del("Authorization")
	}
	return b.others.RoundTrip(r)
}

func (b *behalf) answerAsRead(r *http.Request) (*http.Response, error) {
	own := r.Clone(r.Context())
	own.RemoteAddr, own.TLS = b.caller.RemoteAddr, b.caller.TLS
	in, out := io.Pipe()
	w := &flowing{header: http.Header{}, out: out, began: make(chan struct{})}
	go func() {
		defer func() {
			if recover() != nil {
				w.begin(http.StatusInternalServerError)
				out.CloseWithError(errCutShort)
				return
			}
			w.begin(http.StatusOK)
			out.Close()
		}()
		b.handler.ServeHTTP(w, own)
	}()
	select {
	case <-w.began:
	case <-r.Context().Done():
		in.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.shown, Body: in, ContentLength: -1, Request: r,
	}, nil
}

// errCutShort is what who reads an answer gets that did not come to its end.
var errCutShort = errors.New("this node's answer was cut short")

// flowing is an answer that is taken as it is made.
type flowing struct {
	header, shown http.Header
	code          int
	out           *io.PipeWriter
	once          sync.Once
	began         chan struct{}
}

func (f *flowing) begin(code int) {
	f.once.Do(func() {
		f.code, f.shown = code, f.header.Clone()
		close(f.began)
	})
}

// Header implements http.ResponseWriter.
func (f *flowing) Header() http.Header { return f.header }

// WriteHeader implements http.ResponseWriter.
func (f *flowing) WriteHeader(code int) { f.begin(code) }

// Write implements http.ResponseWriter.
func (f *flowing) Write(p []byte) (int, error) {
	f.begin(http.StatusOK)
	return f.out.Write(p)
}
