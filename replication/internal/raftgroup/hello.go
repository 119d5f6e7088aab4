package raftgroup

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Names of the services; the number is that of the protocol.
const (
	ServiceMessages = "raft/1"
	ServiceSnapshot = "raft.snapshot/1"
)

// hello is the first message of every stream: who opens it, and who is meant.
type hello struct {
	group    string
	from, to uint64
}

const helloFixed = envelopeBytes + 8 + 8

func (h hello) encode() []byte {
	p := append(make([]byte, 0, helloFixed+len(h.group)), formatVersion, 0, 0, 0, 0)
	p = binary.LittleEndian.AppendUint64(p, h.from)
	p = binary.LittleEndian.AppendUint64(p, h.to)
	return sealed(append(p, h.group...))
}

func decodeHello(p []byte) (hello, error) {
	body, err := opened(p)
	if err != nil {
		return hello{}, err
	}
	if len(body) < 16 {
		return hello{}, fmt.Errorf("%w: hello of %d bytes", ErrFormat, len(p))
	}
	return hello{from: binary.LittleEndian.Uint64(body), to: binary.LittleEndian.Uint64(body[8:]), group: string(body[16:])}, nil
}

// check refuses peers that are of another group, or look for another node here.
func (h hello) check(c *Config) error {
	if h.group != c.GroupID || h.to != c.ID || h.from == 0 || h.from == c.ID {
		return fmt.Errorf("%w: %d of %q looks for %d; this is %d of %q", ErrWrongGroup, h.from, h.group, h.to, c.ID, c.GroupID)
	}
	return nil
}

// encodeOffer is the second message of a snapshot stream: the term of the sender and raft's description of the checkpoint that follows.
func encodeOffer(term uint64, s *raftpb.Snapshot) ([]byte, error) {
	p := append(make([]byte, 0, 128), formatVersion, 0, 0, 0, 0)
	p = binary.LittleEndian.AppendUint64(p, term)
	p, err := proto.MarshalOptions{}.MarshalAppend(p, s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return sealed(p), nil
}

func decodeOffer(p []byte) (term uint64, s *raftpb.Snapshot, err error) {
	body, err := opened(p)
	if err != nil {
		return 0, nil, err
	}
	if len(body) < 8 {
		return 0, nil, fmt.Errorf("%w: offer of %d bytes", ErrFormat, len(p))
	}
	s = new(raftpb.Snapshot)
	if err := proto.Unmarshal(body[8:], s); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if s.GetMetadata().GetIndex() == 0 || len(s.GetData()) != checkpointIDBytes {
		return 0, nil, fmt.Errorf("%w: offer of a checkpoint at %d with an ID of %d bytes", ErrFormat, s.GetMetadata().GetIndex(), len(s.GetData()))
	}
	return binary.LittleEndian.Uint64(body), s, nil
}

// checkpointIDBytes is the size of what names a checkpoint, carried in the Data of its snapshot.
const checkpointIDBytes = 16
