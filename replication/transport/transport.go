package transport

import (
	"context"
	"errors"
)

// Transport carries streams of messages between processes. It is safe for concurrent use.
type Transport interface {
	// Serve registers the services that this process offers, by name, and begins to accept streams. It returns at once,
	// and serving stops with Close. It succeeds once; after an error nothing is served, and it may be called again.
	// Streams for a service that is not registered end with ErrNoService.
	Serve(services map[string]Handler) error
	// Open starts a stream to a service of the process at addr. It may return before the peer has answered: a peer that
	// cannot be reached shows as an error of Open or of the first Recv. The stream lives until ctx ends, either side
	// ends it, or the connection breaks. It may be called before Serve: a node that starts asks others before it
	// answers. A failure may be that of an attempt that ended before, unless ctx is of Anew.
	Open(ctx context.Context, addr, service string) (Stream, error)
	// Close ends every stream and stops accepting. Handlers that still run see their context end, and it waits until
	// they have returned: none of them may call it. It may come without a Serve.
	Close() error
}

// Handler serves one stream; the stream ends when it returns. Its error reaches the opener as text behind ErrRemote,
// unless it is one of this package's errors, which arrive comparable with errors.Is.
type Handler func(ctx context.Context, s Stream) error

// Stream is a sequence of messages in each direction, reliable and in order until it breaks. One goroutine may send
// while another receives.
type Stream interface {
	// Send queues p, which the transport owns from then on and nobody may change. It blocks while the peer's window is
	// full. A nil error says nothing about arrival.
	Send(p []byte) error
	// Recv returns the next message, which the caller owns. io.EOF says that the peer ended its side in good order.
	Recv() ([]byte, error)
	// CloseSend ends this side; the opener calls it, a handler returns instead.
	CloseSend() error
	// Context ends with the stream. A handler's tells who opened it, if the Transport knows ([CallerOf]).
	Context() context.Context
	// Peer returns the address of the other side, for logs.
	Peer() string
}

// Errors of a transport.
var (
	// ErrUnreachable says that no connection to the address could be made, or that it broke.
	ErrUnreachable = errors.New("transport: peer unreachable")
	// ErrNoService says that the peer does not offer the service: another version, or another program.
	ErrNoService = errors.New("transport: service not offered")
	// ErrRemote wraps an error that the peer's handler returned.
	ErrRemote = errors.New("transport: peer reported")
	// ErrClosed says that this transport was closed.
	ErrClosed = errors.New("transport: closed")
	// ErrTooLarge says that a message is over MaxMessageBytes.
	ErrTooLarge = errors.New("transport: message too large")
	// ErrFleet says that the peer belongs to another fleet, and refuses to talk.
	ErrFleet = errors.New("transport: peer belongs to another fleet")
	// ErrRemoved says that the peer knows this process as one that was removed, and refuses to talk.
	ErrRemoved = errors.New("transport: this node was removed")
	// ErrStranger says that the peer does not take this process for whom it says it is, and refuses to listen.
	ErrStranger = errors.New("transport: the peer does not take this node for whom it says it is")
)

// MaxMessageBytes bounds one message.
const MaxMessageBytes = 64 << 20

// Leaving returns a channel that is closed when the connection under an opened stream is to end soon, while others to
// the same address take its place: who opens another stream now, and ends this one when nothing is under way on it,
// loses nothing. The channel of a stream that does not know is nil.
func Leaving(s Stream) <-chan struct{} {
	if l, ok := s.(interface{ Leaving() <-chan struct{} }); ok {
		return l.Leaving()
	}
	return nil
}
