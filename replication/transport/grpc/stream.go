package grpctransport

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/transport"
)

// maxErrorBytes bounds the text of a handler's error on the wire.
const maxErrorBytes = 4 << 10

func checkSize(p []byte) error {
	if len(p) > transport.MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", transport.ErrTooLarge, len(p), transport.MaxMessageBytes)
	}
	return nil
}

// clientStream is the opener's side.
type clientStream struct {
	node   *node
	grpc   grpc.ClientStream
	addr   string
	ctx    context.Context
	cancel context.CancelCauseFunc

	leaving <-chan struct{}
}

func (s *clientStream) Context() context.Context { return s.ctx }
func (s *clientStream) Peer() string             { return s.addr }
func (s *clientStream) Leaving() <-chan struct{} { return s.leaving }

func (s *clientStream) Send(p []byte) error {
	if err := checkSize(p); err != nil {
		return err
	}
	err := s.grpc.SendMsg(&message{p})
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() == nil && !errors.Is(err, io.EOF):
		return s.end(err)
	case s.ctx.Err() != nil && context.Cause(s.ctx) != io.EOF:
		return context.Cause(s.ctx)
	}
	// The peer's handler returned; gRPC keeps what it said for RecvMsg.
	return fmt.Errorf("%w: %s ended the stream", transport.ErrUnreachable, s.addr)
}

func (s *clientStream) Recv() ([]byte, error) {
	var m message
	if err := s.grpc.RecvMsg(&m); err != nil {
		return nil, s.end(err)
	}
	return m.bytes, nil
}

func (s *clientStream) CloseSend() error {
	if err := s.grpc.CloseSend(); err != nil {
		return s.end(err)
	}
	return nil
}

// end ends the stream and returns why: what the first call said.
func (s *clientStream) end(err error) error {
	switch {
	case s.ctx.Err() != nil:
	case errors.Is(err, io.EOF):
		s.cancel(io.EOF)
	case s.node.isClosed():
		s.cancel(transport.ErrClosed)
	default:
		s.cancel(s.translate(err))
	}
	return context.Cause(s.ctx)
}

// translate turns gRPC's error into one of package transport.
func (s *clientStream) translate(err error) error {
	st := status.Convert(err)
	if s.grpc != nil {
		if v := s.grpc.Trailer().Get(errorKey); len(v) == 1 {
			kind, err := strconv.Atoi(v[0])
			if err != nil {
				kind = -1 // no kind that anybody knows: the text still says what it is
			}
			return transport.Remote(kind, st.Message())
		}
	}
	switch st.Code() {
	case codes.Unimplemented:
		return fmt.Errorf("%w: %s", transport.ErrNoService, s.addr)
	case codes.ResourceExhausted:
		return fmt.Errorf("%w: from %s: %s", transport.ErrTooLarge, s.addr, st.Message())
	}
	return fmt.Errorf("%w: %s: %s", transport.ErrUnreachable, s.addr, st.Message())
}

// serverStream is the handler's side.
type serverStream struct {
	node *node
	grpc grpc.ServerStream
	ctx  context.Context
	peer string

	kept *kept // nil of a connection that has no meter
}

func (s *serverStream) Context() context.Context { return s.ctx }
func (s *serverStream) Peer() string             { return s.peer }

func (s *serverStream) Send(p []byte) error {
	if err := checkSize(p); err != nil {
		return err
	}
	if err := s.grpc.SendMsg(&message{p}); err != nil {
		return s.translate(err)
	}
	return nil
}

func (s *serverStream) Recv() ([]byte, error) {
	var m message
	if err := s.grpc.RecvMsg(&m); err != nil {
		return nil, s.translate(err)
	}
	s.kept.took(len(m.bytes))
	return m.bytes, nil
}

func (s *serverStream) CloseSend() error {
	return errors.New("transport: CloseSend by a handler, which has to return instead")
}

func (s *serverStream) translate(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case s.node.isClosed():
		return transport.ErrClosed
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("%w: from %s: %s", transport.ErrTooLarge, s.peer, status.Convert(err).Message())
	}
	return fmt.Errorf("%w: %s is gone: %s", transport.ErrUnreachable, s.peer, status.Convert(err).Message())
}

// handle serves one stream of any service.
func (n *node) handle(_ any, g grpc.ServerStream) error {
	s := &serverStream{node: n, grpc: g, ctx: g.Context(), kept: keptOf(g.Context())}
	return failed(g, n.guarded(s))
}

// failed tells the opener of a stream why it ends.
func failed(g grpc.ServerStream, err error) error {
	if err == nil {
		return nil
	}
	g.SetTrailer(metadata.Pairs(errorKey, strconv.Itoa(transport.Kind(err))))
	text := err.Error()
	return status.Error(codes.Unknown, strings.ToValidUTF8(text[:min(len(text), maxErrorBytes)], "�"))
}

// guarded is dispatch, and makes an error of a panic: what one peer says must not end the process.
func (n *node) guarded(s *serverStream) (err error) {
	defer func() {
		if r := recover(); r != nil {
			n.options.Logger.Error("the handler of a stream panicked", "peer", s.peer, "err", r)
			n.options.Logger.Debug("panic", "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler panicked: %v", r)
		}
	}()
	return n.dispatch(s)
}

func (n *node) dispatch(s *serverStream) error {
	md, _ := metadata.FromIncomingContext(s.grpc.Context())
	s.peer = describePeer(s.grpc.Context(), md)
	if fleet := first(md, fleetKey); fleet != n.options.FleetID {
		return fmt.Errorf("%w: node %s is of fleet %q, %s is of fleet %q",
			transport.ErrFleet, n.options.NodeName, n.options.FleetID, s.peer, fleet)
	}
	caller := transport.Caller{Region: first(md, regionKey), Node: first(md, nodeKey)}
	if err := n.admit(s.grpc.Context(), caller); err != nil {
		return fmt.Errorf("%w: %s, by node %s: %w", transport.ErrStranger, s.peer, n.options.NodeName, err)
	}
	end, err := s.kept.begin(n.options.FleetID, caller)
	if err != nil {
		return err
	}
	defer end()
	s.ctx = transport.WithTraceparent(transport.WithCaller(s.ctx, caller), first(md, traceKey))
	vouch(s.grpc.Context())
	s.kept.tune(n.sockets)
	method, _ := grpc.MethodFromServerStream(s.grpc)
	service, ok := strings.CutPrefix(method, methodPrefix)
	h := n.services[service]
	if !ok || h == nil {
		return fmt.Errorf("%w: %s by node %s", transport.ErrNoService, strings.TrimPrefix(method, "/"),
			n.options.NodeName)
	}
	return h(s.ctx, s)
}

// withoutLine returns what is known of a connection but of the port that it came by.
func withoutLine(info credentials.AuthInfo) credentials.AuthInfo {
	if l, ok := info.(lineInfo); ok {
		return l.AuthInfo
	}
	return info
}

// admit returns why a caller is refused.
func (n *node) admit(ctx context.Context, c transport.Caller) error {
	p := Peer{Caller: c, Addr: "unknown address"}
	if from, ok := grpcpeer.FromContext(ctx); ok {
		p.Addr = from.Addr.String()
		info := withoutLine(from.AuthInfo)
		if m, ok := info.(meterInfo); ok {
			info = m.AuthInfo
		}
		if key, ok := info.(keyInfo); ok {
			if err := n.unlock(key.key); err != nil {
				return err
			}
			info = key.AuthInfo
		}
		if secure, ok := info.(credentials.TLSInfo); ok && len(secure.State.VerifiedChains) > 0 {
			p.Certificate = secure.State.VerifiedChains[0][0]
		}
	}
	if n.options.Admit == nil {
		return nil
	}
	return n.options.Admit(p)
}

// unlock returns why a caller is refused that showed this key, nil if it showed none.
func (n *node) unlock(key []byte) error {
	o := &n.options
	switch {
	case len(o.Keys) == 0:
		return nil
	case key == nil && !o.KeyOptional:
		return errors.New("the fleet has a key, and it showed none: give it the fleet key too")
	case key != nil && !slices.ContainsFunc(o.Keys, func(k []byte) bool { return hmac.Equal(k, key) }):
		return errors.New("it showed the key of another fleet: give it that of this one")
	}
	return nil
}
