package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/replication/durable"
)

// partSuffix is what the name of a file ends with as long as it is not whole.
const partSuffix = ".part"

var quiet = slog.New(slog.DiscardHandler)

// Save writes a snapshot of the node at the other end of conn to a new file: under another name first, durably, and
// under its own only when it was found whole. What breaks off is begun anew by the caller: a node keeps no state of a
// moment for who might come back, so there is nothing to go on with. The part is removed.
func Save(ctx context.Context, conn grpc.ClientConnInterface, path string) (s *Snapshot, err error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	part := path + partSuffix
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if gone := os.Remove(part); !errors.Is(gone, os.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}()
	if err := errors.Join(Receive(ctx, conn, f), f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if s, err = Open(part); err != nil {
		return nil, fmt.Errorf("what came is broken: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return nil, err
	}
	s.Path = path
	return s, durable.OS.SyncDir(filepath.Dir(path))
}

// Receive writes the snapshot that a node sends to w, and sees that it came whole. A node of etcd does too.
func Receive(ctx context.Context, conn grpc.ClientConnInterface, w io.Writer) error {
	stream, err := pb.NewMaintenanceClient(conn).Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<20)
	in := received{Writer: out, sum: sha256.New()}
	for {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			if !in.whole() {
				return fmt.Errorf("the stream ended after %d bytes, without the SHA-256 of what it sent", in.bytes)
			}
			return out.Flush()
		case err != nil:
			return fmt.Errorf("broke off after %d bytes: %w", in.bytes, err)
		}
		if _, err := in.Write(r.Blob); err != nil {
			return err
		}
	}
}

// received sums what came, but for its last 32 bytes.
type received struct {
	io.Writer
	sum   hash.Hash
	last  []byte
	bytes int64
}

func (r *received) Write(p []byte) (int, error) {
	r.bytes += int64(len(p))
	r.last = append(r.last, p...)
	if over := len(r.last) - sha256.Size; over > 0 {
		r.sum.Write(r.last[:over])
		r.last = append(r.last[:0], r.last[over:]...)
	}
	return r.Writer.Write(p)
}

func (r *received) whole() bool { return string(r.sum.Sum(nil)) == string(r.last) }
