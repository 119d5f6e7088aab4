package snapshots

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// Names under which members take a checkpoint; the number is that of the protocol.
const (
	// Service is of members of which both say when they work.
	Service = "raft.snapshot/2"
	// ServiceElder is for those that do not know Service.
	ServiceElder = "raft.snapshot/1"
)

// idBytes is the size of what names a checkpoint, carried in the Data of its snapshot.
const idBytes = 16

const offerFixedBytes = 8

// encodeOffer returns the second message of a stream, after the hello: the term of the sender, and raft's description
// of the checkpoint that follows.
func encodeOffer(term uint64, s *raftpb.Snapshot) ([]byte, error) {
	p := binary.LittleEndian.AppendUint64(peers.NewEnvelope(offerFixedBytes+proto.Size(s)), term)
	p, err := proto.MarshalOptions{}.MarshalAppend(p, s)
	if err != nil {
		return nil, fmt.Errorf("%w: encoding an offer: %w", peers.ErrFormat, err)
	}
	return peers.Seal(p), nil
}

// decodeOffer reads an offer; ErrFormat if it is none, or of a checkpoint without an entry or a name.
func decodeOffer(p []byte) (term uint64, s *raftpb.Snapshot, err error) {
	body, err := peers.Unseal(p)
	if err != nil {
		return 0, nil, err
	}
	if len(body) < offerFixedBytes {
		return 0, nil, fmt.Errorf("%w: offer of %d bytes", peers.ErrFormat, len(p))
	}
	s = new(raftpb.Snapshot)
	if err := proto.Unmarshal(body[offerFixedBytes:], s); err != nil {
		return 0, nil, fmt.Errorf("%w: decoding an offer: %w", peers.ErrFormat, err)
	}
	if s.GetMetadata().GetIndex() == 0 || len(s.GetData()) != idBytes {
		return 0, nil, fmt.Errorf("%w: offer of a checkpoint at %d with an ID of %d bytes",
			peers.ErrFormat, s.GetMetadata().GetIndex(), len(s.GetData()))
	}
	return binary.LittleEndian.Uint64(body), s, nil
}
