package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// ErrDiffers says that a snapshot and a log do not come to what another snapshot is.
var ErrDiffers = errors.New("they come to something else")

// VerifyLog brings the snapshot from forward along log to where the snapshot to is, in a directory of its own below dir
// (the machine's for temporary files, if that is empty), and compares all of what comes of it with that one. It returns
// what both are. The error is ErrDiffers if they are not equal. The target of log is set here.
func VerifyLog(ctx context.Context, dir string, from, to *Snapshot, log *archive.Replay) (sum kv.Summary, err error) {
	want, err := to.Look(ctx, dir)
	if err != nil {
		return sum, fmt.Errorf("%s: %w", to.Path, err)
	}
	if want.Metadata == nil {
		return sum, fmt.Errorf("%s: %w: it is empty", to.Path, archive.ErrMissing)
	}
	at := want.Metadata
	log.Until = archive.Target{Cursor: timeline.Cursor{Epoch: at.Epoch, Position: at.Position, Chain: at.Chain}}
	dir, err = os.MkdirTemp(dir, "mimir-snapshot-")
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = from.Unpacked(ctx, filepath.Join(dir, "kv"), func(s *kv.Store) error {
		if _, err := log.Run(ctx, s); err != nil {
			return err
		}
		if sum, err = kv.Summarize(ctx, s); err != nil {
			return broken(err)
		}
		return differ(&sum, &want)
	})
	if err != nil {
		return sum, fmt.Errorf("%s, with the log, and %s: %w", from.Path, to.Path, err)
	}
	return sum, nil
}

// sumText is a sum as people see it.
func sumText(sum [mvcc.SumBytes]byte) string { return hex.EncodeToString(sum[:]) }

// differ says in what two contents of one place differ.
func differ(got, want *kv.Summary) error {
	for _, f := range []struct {
		what      string
		got, want any
	}{
		{"revision", got.Revision, want.Revision}, {"hash", got.Hash, want.Hash}, {"keys", got.Keys, want.Keys},
		{"compaction", got.Compact, want.Compact}, {"leases", got.Leases, want.Leases},
		{"users", got.Users, want.Users},
		{"sum of leases and their times", sumText(got.LeaseSum), sumText(want.LeaseSum)},
		{"sum of users and roles", sumText(got.UserSum), sumText(want.UserSum)},
		{"whether it follows an etcd", got.Follows, want.Follows},
		{"chain", got.Metadata.Chain, want.Metadata.Chain},
	} {
		if f.got != f.want {
			return fmt.Errorf("%w: %s %v, not %v", ErrDiffers, f.what, f.got, f.want)
		}
	}
	return nil
}
