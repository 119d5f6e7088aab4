package backup

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup/whole"
)

var quiet = slog.New(slog.DiscardHandler)

// Patience is for how long a node may say nothing before it is given up. How long all of it takes does not matter.
const Patience = time.Minute

// ErrSilent says that a node was given up.
var ErrSilent = fmt.Errorf("nothing came for %v", Patience)

// Save writes a snapshot of the node at the other end of conn to a new file: under another name first, durably, and
// under its own only when it was found whole. What breaks off is begun anew by the caller: a node keeps no state of a
// moment for who might come back, so there is nothing to go on with. The part is removed.
func Save(ctx context.Context, conn grpc.ClientConnInterface, path string) (s *Snapshot, err error) {
	f, err := whole.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Abandon()) }()
	if err := Receive(ctx, conn, f); err != nil {
		return nil, err
	}
	if err := f.Finish(); err != nil {
		return nil, err
	}
	if s, err = OpenUntil(ctx, f.Name()); errors.Is(err, ErrBroken) {
		return nil, fmt.Errorf("what came is broken: %w", err)
	} else if err != nil {
		return nil, err
	}
	s.Path = path
	return s, f.Publish()
}

// Receive writes the snapshot that a node sends to w, and sees that it came whole. A node of etcd does too. One that
// says nothing for Patience is given up: ErrSilent.
func Receive(ctx context.Context, conn grpc.ClientConnInterface, w io.Writer) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silence := time.AfterFunc(Patience, func() { end(ErrSilent) })
	defer silence.Stop()
	stream, err := pb.NewMaintenanceClient(conn).Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(conn), ended(ctx, err))
	}
	out := bufio.NewWriterSize(w, 1<<20)
	in := received{Writer: out, sum: sha256.New()}
	for {
		silence.Reset(Patience)
		r, err := stream.Recv()
		silence.Stop() // as long as it is we who are slow
		switch {
		case errors.Is(err, io.EOF):
			if !in.whole() {
				return fmt.Errorf("%s: the stream ended after %s, without the SHA-256 of what it sent", nameOf(conn),
					in.far())
			}
			return out.Flush()
		case err != nil:
			return fmt.Errorf("%s: broke off after %s: %w", nameOf(conn), in.far(), ended(ctx, err))
		}
		in.left = r.RemainingBytes
		if _, err := in.Write(r.Blob); err != nil {
			return err
		}
	}
}

// ended returns why what is done for ctx failed: because of ctx, if that has ended.
func ended(ctx context.Context, err error) error {
	return cmp.Or(context.Cause(ctx), err)
}

// nameOf returns where a connection leads.
func nameOf(conn grpc.ClientConnInterface) string {
	if one, ok := conn.(interface{ Target() string }); ok {
		return strings.TrimPrefix(one.Target(), targetScheme)
	}
	return "the node"
}

// received sums what came, but for its last 32 bytes.
type received struct {
	io.Writer
	sum   hash.Hash
	last  []byte
	bytes int64
	left  uint64 // as the node guesses; zero: it does not
}

// far says how far it came.
func (r *received) far() string {
	if r.left > 0 {
		return fmt.Sprintf("%d bytes of about %d", r.bytes, r.bytes+int64(r.left))
	}
	return fmt.Sprintf("%d bytes", r.bytes)
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
