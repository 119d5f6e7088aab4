package mirror

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

// sameHistory returns an error if this endpoint of the fleet has something else at the last revision at which something
// was mirrored than it had then, by a place. Where that is compacted, or was cut off by a failover, there is nothing to
// compare: that is found out by the watch.
func (s *session) sameHistory(ctx context.Context, was placed) error {
	if was.Print == 0 {
		return nil
	}
	key, end := sides.RangeOf(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	// The revision itself may be the one up to which the fleet is compacted, where an etcd lacks deletions.
	_, err := pb.NewKVClient(s.fleet.Conn).Range(ctx,
		&pb.RangeRequest{Key: key, CountOnly: true, Revision: was.Given - 1})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
		return nil
	}
	var r *sides.Revision
	if err == nil {
		r, err = sides.FirstOf(ctx, s.fleet.Conn, sides.Wanted{Key: key, End: end, From: was.Given})
	}
	switch {
	case errors.Is(err, sides.ErrCompacted):
		return nil
	case err != nil:
		return fmt.Errorf("compare revision %d of the fleet with what was mirrored: %w", was.Given, err)
	case len(r.Events) == 0 && r.Number < was.Given:
		return s.behind(r.Number)
	case r.Number != was.Given || sides.PrintOf(r.Events) != was.Print:
		return fmt.Errorf("this endpoint of the fleet has something else at revision %d than was mirrored, so that it "+
			"has another history: it may be of a node that formed its region anew by itself, and the next one is "+
			"tried; if the fleet was restored, or begun anew, under its name, delete key %q of the etcd and run again "+
			"with --overwrite", was.Given, s.at.key)
	}
	return nil
}
