package peers

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Hello is the first message of every stream between members: who opens it, and who is meant. The opener sends it, and
// is not answered: a receiver that will not have it ends the stream.
type Hello struct {
	Group    string
	From, To uint64
}

const helloFixedBytes = 8 + 8

// Encode returns h as an envelope.
func (h Hello) Encode() []byte {
	p := NewEnvelope(helloFixedBytes + len(h.Group))
	p = binary.LittleEndian.AppendUint64(p, h.From)
	p = binary.LittleEndian.AppendUint64(p, h.To)
	return Seal(append(p, h.Group...))
}

func decodeHello(p []byte) (Hello, error) {
	body, err := Unseal(p)
	if err != nil {
		return Hello{}, err
	}
	if len(body) < helloFixedBytes {
		return Hello{}, fmt.Errorf("%w: hello of %d bytes", ErrFormat, len(p))
	}
	return Hello{
		Group: string(body[helloFixedBytes:]),
		From:  binary.LittleEndian.Uint64(body), To: binary.LittleEndian.Uint64(body[8:]),
	}, nil
}

// check refuses peers that are of another group, or look for another member than id (N3).
func (h Hello) check(group string, id uint64) error {
	if h.Group != group || h.To != id || h.From == 0 || h.From == id {
		return fmt.Errorf("%w: %d of %q looks for %d; this is %d of %q",
			ErrWrongGroup, h.From, h.Group, h.To, id, group)
	}
	return nil
}

// refuseRemoved refuses whoever was removed from the group, and tells him (N6). One who was removed himself tells
// nobody: the others may need both until they know.
func (n *Network) refuseRemoved(id uint64) error {
	if !n.config.Directory.Removed(id) || n.config.Directory.Removed(n.config.ID) {
		return nil
	}
	return fmt.Errorf("%w: %s, from %s", transport.ErrRemoved, n.Name(id), n.config.Group)
}

// checkCaller refuses whoever says hello in the name of another than opened the stream (N3).
func (n *Network) checkCaller(ctx context.Context, h Hello) error {
	if n.config.Caller == nil {
		return nil
	}
	if id, known := n.config.Caller(ctx); known && id != h.From {
		return fmt.Errorf("%w: %s says hello as %s", transport.ErrStranger, n.Name(id), n.Name(h.From))
	}
	return nil
}

// Greet reads and checks the first message of a stream that a peer opened. It blocks as long as the peer says nothing.
func (n *Network) Greet(s transport.Stream) (Hello, error) {
	p, err := s.Recv()
	if err != nil {
		return Hello{}, err
	}
	h, err := decodeHello(p)
	if err == nil {
		err = h.check(n.config.Group, n.config.ID)
	}
	if err == nil {
		err = n.checkCaller(s.Context(), h)
	}
	if err == nil {
		err = n.refuseRemoved(h.From)
	}
	if err != nil {
		n.config.Logger.Warn("peer refused", "peer", s.Peer(), "err", err)
	}
	return h, err
}
