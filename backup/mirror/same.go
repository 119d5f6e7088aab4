package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

// mostPatience is for how long an endpoint of the fleet may read at most, until it says something.
const mostPatience = time.Hour

// sameHistory returns an error if this endpoint of the fleet has something else at the last revision at which something
// was mirrored than it had then, by a place. Where that is compacted, or was cut off by a failover, there is nothing to
// compare: that is found out by the watch.
func (s *session) sameHistory(ctx context.Context, was placed) error {
	if was.Print == 0 {
		return nil
	}
	var r *sides.Revision
	err := whileOurs(ctx, s, func(ctx context.Context) (err error) {
		if r, err = s.firstFrom(ctx, s.fleet, was.Given); err != nil {
			return fmt.Errorf("compare revision %d of the fleet with what was mirrored: %w", was.Given, err)
		}
		return nil
	})
	switch {
	case errors.Is(err, sides.ErrCompacted):
		return nil
	case err != nil:
		return err
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

// firstFrom returns what was changed first from a revision of the fleet on, as sides.FirstOf does; ErrCompacted, too,
// where there is nothing before it any more, or a compaction overtakes what is read. An endpoint that has a lot to
// read, in which there is nothing of these keys, and does not say how far it is, as an older one, is given more time at
// the next try.
func (m *mirror) firstFrom(ctx context.Context, fleet sides.Side, revision int64) (*sides.Revision, error) {
	key, end := sides.RangeOf(m.Prefix)
	within, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	// The revision itself may be the one up to which the fleet is compacted, where an etcd lacks deletions.
	_, err := pb.NewKVClient(fleet.Conn).Range(within,
		&pb.RangeRequest{Key: key, CountOnly: true, Revision: revision - 1})
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return nil, sides.ErrCompacted
	case err != nil:
		return nil, err
	}
	within, enough := context.WithTimeout(ctx, m.patience)
	defer enough()
	r, err := sides.FirstOf(within, fleet.Conn, sides.Wanted{Key: key, End: end, From: revision})
	switch {
	case sides.IsLate(err):
		m.patience = min(2*m.patience, mostPatience)
	case err == nil:
		m.patience = sides.AnswerTime
	}
	return r, err
}

// whileOurs does what may take long and changes nothing, and ends it with ErrOvertaken if another mirror is started
// meanwhile, and with the error where leases are not kept alive any more: another session may reach the etcd.
func whileOurs(ctx context.Context, s *session, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	looked := make(chan error, 1)
	go func() {
		ticker := time.NewTicker(max(lookPolls*s.Poll, leastKeep))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				looked <- nil
				return
			case <-ticker.C:
			}
			if err := cmp.Or(s.ours(ctx, s.etcd), s.leases.failure()); err != nil {
				cancel()
				looked <- err
				return
			}
		}
	}()
	err := do(ctx)
	cancel()
	return cmp.Or(<-looked, err)
}
