package etcdapi

import (
	"bufio"
	"crypto/sha256"
	"hash"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/replication"
)

const (
	// snapshotChunkBytes is the size of one message of a snapshot.
	snapshotChunkBytes = 64 << 10
	// snapshotAlignBytes is what etcd clients expect the content to be a multiple of: that, with the digest after it,
	// is how they know that a snapshot file is whole. The content is filled up with zeros.
	snapshotAlignBytes = 512
)

// Snapshot sends a copy of this node's store, of nothing older than the node has shown, and a SHA-256 digest of it. It
// has what tokens are signed with.
func (s *maintenanceServer) Snapshot(
	_ *pb.SnapshotRequest, stream grpc.ServerStreamingServer[pb.SnapshotResponse],
) error {
	if err := s.mayOrder(stream.Context()); err != nil {
		return err
	}
	if err := s.fresh(stream.Context(), replication.Serializable); err != nil {
		return err
	}
	return whileRead(s.clock, func(u *unread) error { return s.sendSnapshot(stream, u) })
}

func (s *maintenanceServer) sendSnapshot(stream grpc.ServerStreamingServer[pb.SnapshotResponse], u *unread) error {
	estimate, _ := s.store.SizeBytes()
	sender := &snapshotSender{
		stream: stream, unread: u, digest: sha256.New(), estimate: estimate, version: minorVersion(s.version),
	}
	buffered := bufio.NewWriterSize(sender, snapshotChunkBytes)
	var note []byte
	if s.snapshotNote != nil {
		note = s.snapshotNote()
	}
	if err := s.store.SnapshotTo(buffered, note); err != nil {
		return s.statusOf(stream.Context(), err)
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if over := sender.sent % snapshotAlignBytes; over != 0 {
		if _, err := sender.Write(make([]byte, snapshotAlignBytes-over)); err != nil {
			return err
		}
	}
	return stream.Send(&pb.SnapshotResponse{Blob: sender.digest.Sum(nil), Version: sender.version})
}

// snapshotSender is the writer of a snapshot's content.
type snapshotSender struct {
	stream   grpc.ServerStreamingServer[pb.SnapshotResponse]
	unread   *unread
	digest   hash.Hash
	version  string
	sent     int64
	estimate int64 // of the whole content: its size is known only when it is written
}

// Write sends p as one message. It copies p: gRPC may marshal it after Send has returned.
func (s *snapshotSender) Write(p []byte) (int, error) {
	s.digest.Write(p)
	s.sent += int64(len(p))
	err := s.unread.wait(len(p), func() error {
		return s.stream.Send(&pb.SnapshotResponse{
			RemainingBytes: uint64(max(s.estimate-s.sent, 1)),
			Blob:           append([]byte(nil), p...),
			Version:        s.version,
		})
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
