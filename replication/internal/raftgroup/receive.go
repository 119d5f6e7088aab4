package raftgroup

import (
	"context"
	"io"

	"github.com/mimir-kv/mimir/replication/transport"
)

// serveMessages takes the messages of one stream of a peer. The stream ends with the group, although nobody can interrupt Recv.
func (g *Group) serveMessages(ctx context.Context, s transport.Stream) error {
	ended := make(chan error, 1)
	if !g.spawn(func() { ended <- g.receiveMessages(s) }) {
		return g.stopped()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.context.Done():
		return g.stopped()
	}
}

// greet reads and checks the first message of a stream.
func (g *Group) greet(s transport.Stream) (hello, error) {
	p, err := s.Recv()
	if err != nil {
		return hello{}, err
	}
	h, err := decodeHello(p)
	if err == nil {
		err = h.check(&g.config)
	}
	if err != nil {
		g.log.Warn("peer refused", "peer", s.Peer(), "error", err)
	}
	return h, err
}

func (g *Group) receiveMessages(s transport.Stream) error {
	h, err := g.greet(s)
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
		messages, err := decodeMessages(p, h.from, h.to)
		if err != nil {
			g.log.Warn("peer refused", "peer", s.Peer(), "error", err)
			return err
		}
		if !g.mail.receive(messages, len(p)) {
			return g.stopped()
		}
	}
}
