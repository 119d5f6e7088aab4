package peers

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Serve takes the messages of one stream of a peer: the handler of Service. The stream ends with the group, although
// nobody can interrupt Recv.
func (n *Network) Serve(ctx context.Context, s transport.Stream) error {
	group := n.life.Context()
	ended := make(chan error, 1)
	if !n.life.Spawn(func() { ended <- n.receive(s) }) {
		return n.ended()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-group.Done():
		return n.ended()
	}
}

// ended is why a stream ends with the group. That this member was removed is told in words alone: the peer would take
// it for a word to him.
func (n *Network) ended() error {
	cause := context.Cause(n.life.Context())
	if errors.Is(cause, transport.ErrRemoved) {
		return fmt.Errorf("the group has ended here: %v", cause)
	}
	return cause
}

// receive hands over what comes, until the stream or the group ends. One message that cannot be read ends the stream:
// the next ones may not mean what they seem to.
func (n *Network) receive(s transport.Stream) error {
	h, err := n.Greet(s)
	if err != nil {
		return err
	}
	for {
		p, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := n.refuseRemoved(h.From); err != nil { // since it said hello
			return err
		}
		messages, err := decodeMessages(p, h.From, h.To)
		if err != nil {
			n.config.Logger.Warn("peer refused", "peer", s.Peer(), "err", err)
			return err
		}
		if !n.inbox.Receive(messages, len(p)) {
			return n.ended()
		}
	}
}
